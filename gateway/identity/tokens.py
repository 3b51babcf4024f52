"""The agent's tokens: a short access token and a rotating refresh token, both bound to the device key (RFC 9449).

The gateway signs them with a key of its own (ES256) and reads them like any stranger's. Which refresh token is the latest of
its family, and whether a proof was used before, is not known here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key

from gateway.errors import Unauthenticated
from gateway.identity.claim_rules import Expected
from gateway.identity.compact import base64url
from gateway.identity.device_key import DeviceKey
from gateway.identity.jwks import PublicKey
from gateway.identity.kinds import (
    ACCESS_LIFETIME,
    ACCESS_TOKEN,
    DPOP_PROOF,
    ES256,
    REFRESH_LIFETIME,
    REFRESH_TOKEN,
    Kind,
)
from gateway.identity.verify import Verified, verify

NONCE_PERIOD = timedelta(minutes=5)
"""A server nonce is good in the period that it is of and in the next one."""

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2, section 2.4.2): a private key is a number from 1 to below it."""


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """A DPoP proof that holds for this request. `device` is the thumbprint of its key. Made only in this file."""

    device: str
    jti: str


@dataclass(frozen=True, slots=True)
class VerifiedRefresh:
    """A refresh token of ours that is not over; whether it is the latest of its family is not checked. Made only here."""

    device: str
    family: str
    generation: int


class Mint:
    """Makes and reads the tokens of one gateway. `secret` is 32 bytes, `origin` the gateway's public URL."""

    def __init__(self, secret: bytes, origin: str) -> None:
        self._private = derive_private_key(int.from_bytes(secret, "big") % (ORDER - 1) + 1, SECP256R1())
        self._key = DeviceKey.from_public_key(self._private.public_key())
        self._nonce_key = hmac.digest(secret, b"sallyport dpop nonce", "sha256")
        self._origin = origin

    def access_token(self, device: str, *, now: datetime, entropy: Callable[[int], bytes]) -> str:
        """Make an access token for the holder of the device's key."""
        return self._sign(ACCESS_TOKEN, device, now + ACCESS_LIFETIME, now=now, entropy=entropy)

    def refresh_token(
        self,
        device: str,
        family: str,
        generation: int,
        *,
        until: datetime,
        now: datetime,
        entropy: Callable[[int], bytes],
    ) -> str:
        """Make the refresh token of this generation of the family."""
        more = {"family": family, "generation": generation}
        return self._sign(REFRESH_TOKEN, device, min(until, now + REFRESH_LIFETIME), now=now, entropy=entropy, **more)

    def verify_access(self, token: object, *, now: datetime) -> str:
        """Give the device whose access token this is. Raises Unauthenticated `token-…`."""
        return str(self._verify(ACCESS_TOKEN, token, now=now).claims["sub"])

    def verify_refresh(self, token: object, *, now: datetime) -> VerifiedRefresh:
        """Read a refresh token. Raises Unauthenticated `token-…`."""
        claims = self._verify(REFRESH_TOKEN, token, now=now).claims
        return VerifiedRefresh(str(claims["sub"]), str(claims["family"]), int(claims["generation"]))

    def nonces(self, *, now: datetime) -> tuple[str, str]:
        """Give the server nonces of this period and of the one before. Nothing is kept: every replica knows them."""
        period = int(now.timestamp() // NONCE_PERIOD.total_seconds())
        current, before = (
            hmac.digest(self._nonce_key, b"%d" % number, hashlib.sha256) for number in (period, period - 1)
        )
        return base64url(current), base64url(before)

    def verify_proof(
        self, proof: object, *, method: str, path: str, now: datetime, access_token: str | None = None
    ) -> VerifiedProof:
        """Verify a DPoP proof for this request; beside an access token, that it is by the key that the token is bound to.

        Raises Unauthenticated `dpop-…` or `token-…`.
        """
        expected = Expected(
            issuer="",
            audience="",
            algorithms=ES256,
            method=method,
            url=f"{self._origin}{path}",
            access_token=access_token,
            holder=None if access_token is None else self.verify_access(access_token, now=now),
            nonces=frozenset(self.nonces(now=now)),
        )
        verified = verify(DPOP_PROOF, proof, expected, None, now=now)
        assert verified.key is not None
        return VerifiedProof(verified.key.thumbprint, str(verified.claims["jti"]))

    def _audience(self, kind: Kind) -> str:
        """RFC 8725 3.9: an access token is for the API, a refresh token for the token endpoint alone."""
        return f"{self._origin}/v1" if kind is ACCESS_TOKEN else f"{self._origin}/v1/token"

    def _sign(
        self, kind: Kind, device: str, until: datetime, *, now: datetime, entropy: Callable[[int], bytes], **more: Any
    ) -> str:
        claims = {
            "iss": self._origin,
            "aud": self._audience(kind),
            "sub": device,
            "cnf": {"jkt": device},
            "jti": base64url(entropy(18)),
            "iat": now.timestamp(),
            "exp": until.timestamp(),
            **more,
        }
        headers = {"typ": kind.types[0], "kid": self._key.thumbprint}
        return jwt.encode(claims, self._private, "ES256", headers=headers)

    def _verify(self, kind: Kind, token: object, *, now: datetime) -> Verified:
        expected = Expected(issuer=self._origin, audience=self._audience(kind), algorithms=ES256)
        return verify(kind, token, expected, self._find_key, now=now)

    def _find_key(self, kid: str | None, _algorithm: str) -> PublicKey:
        if kid != self._key.thumbprint:
            raise Unauthenticated("token-key", "it is not by this gateway's key")
        return self._key.public_key
