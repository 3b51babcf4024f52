"""The gateway's own key as a client of a provider: what it signs instead of sending a secret (RFC 7523, RFC 9449).

One ES256 key for each gateway, made from a kept seed, so that the provider may register it once. Its public half is
published at `/jwks.json`. Nothing here talks to anybody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.identity.compact import base64url

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (FIPS 186-5): a private key is a number from 1 to this less one."""

ASSERTION_LIFETIME = timedelta(seconds=60)
"""It is made for one request, which ends within ten seconds; the rest is for clocks that differ."""

JTI_SIZE = 24

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientKey:
    """An ES256 key pair. `jwk` is the public half as it is published; its `kid` is the RFC 7638 thumbprint."""

    def __init__(self, seed: bytes) -> None:
        """`seed` is 32 bytes or more; the same seed gives the same key."""
        number = int.from_bytes(hashlib.sha512(b"sallyport client key 1" + seed).digest())
        self._private = ec.derive_private_key(number % (ORDER - 1) + 1, ec.SECP256R1())
        members = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(self._private.public_key()))
        self.public = {name: str(members[name]) for name in ("crv", "kty", "x", "y")}
        canonical = json.dumps(self.public, separators=(",", ":"), sort_keys=True)
        self.thumbprint = base64url(hashlib.sha256(canonical.encode()).digest())
        self.jwk = {**self.public, "kid": self.thumbprint, "use": "sig", "alg": "ES256"}

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
        """Sign claims as a compact JWS."""
        return jwt.encode(dict(claims), self._private, "ES256", headers=dict(header))

    def assertion(
        self, client_id: str, issuer: str, *, now: datetime, entropy: Callable[[int], bytes]
    ) -> dict[str, str]:
        """Make the form fields that prove who the client is, good for one request (OIDC Core 9, private_key_jwt).

        The audience is the issuer alone: an assertion for a token endpoint could be passed on by whoever runs another.
        """
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "jti": base64url(entropy(JTI_SIZE)),
            "iat": int(now.timestamp()),
            "exp": int((now + ASSERTION_LIFETIME).timestamp()),
        }
        return {
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.sign(claims, {"kid": self.thumbprint}),
        }
