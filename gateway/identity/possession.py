"""Access tokens that work for nobody else: the gateway's half of DPoP (RFC 9449) as a client of a provider.

Each request carries a proof by the client key over its method and address, and over the access token where there is one.
A provider may ask for its own nonce in it; the latest one of each origin is remembered here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

import httpx2

from gateway.identity.client_key import JTI_SIZE, ClientKey
from gateway.identity.compact import base64url

LONGEST_NONCE = 1024
MOST_ORIGINS = 8
"""Of one provider: its endpoints may stand on several, and no answer makes us remember more."""

NONCE_WANTED = "use_dpop_nonce"
"""RFC 9449 section 8: the error that says that the proof needs the nonce which comes with it."""


class Prover:
    """Makes proofs and keeps the nonces. Safe to use from several threads."""

    def __init__(self, key: ClientKey, entropy: Callable[[int], bytes]) -> None:
        self._key = key
        self._entropy = entropy
        self._nonces: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def jwk(self) -> Mapping[str, str]:
        """The public key as the provider registers it."""
        return self._key.jwk

    def proof(self, method: str, url: str, *, now: datetime, access_token: str | None = None) -> str:
        """Make the proof for one request (RFC 9449 section 4.2)."""
        claims: dict[str, object] = {
            "jti": base64url(self._entropy(JTI_SIZE)),
            "htm": method,
            "htu": _without_query(url),
            "iat": int(now.timestamp()),
        }
        with self._lock:
            nonce = self._nonces.get(_origin(url))
        if nonce is not None:
            claims["nonce"] = nonce
        if access_token is not None:
            claims["ath"] = base64url(hashlib.sha256(access_token.encode()).digest())
        return self._key.sign(claims, {"typ": "dpop+jwt", "jwk": self._key.public})

    def assertion(self, client_id: str, issuer: str, *, now: datetime) -> dict[str, str]:
        """Make the form fields that prove who the client is; see `ClientKey.assertion`."""
        return self._key.assertion(client_id, issuer, now=now, entropy=self._entropy)

    def learn(self, url: str, headers: Mapping[str, str]) -> None:
        """Take the nonce that an answer brings, whatever its status (section 8.2)."""
        nonce = headers.get("dpop-nonce")
        if nonce is None or not 0 < len(nonce) <= LONGEST_NONCE:
            return
        with self._lock:
            if len(self._nonces) < MOST_ORIGINS or _origin(url) in self._nonces:
                self._nonces[_origin(url)] = nonce


class Possession(httpx2.Auth):
    """Puts the proof, and the access token where there is one, on a request, and learns from the answer.

    An answer 401 that asks for a nonce is asked again once: a resource tells it by status and header alone (section 9).
    """

    def __init__(self, prover: Prover, *, now: datetime, access_token: str | None = None) -> None:
        self._prover = prover
        self._now = now
        self._access_token = access_token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See httpx2.Auth."""
        answer = yield self._proven(request)
        self._prover.learn(str(request.url), answer.headers)
        wanted = NONCE_WANTED in answer.headers.get("www-authenticate", "") and "dpop-nonce" in answer.headers
        if answer.status_code == 401 and wanted:
            answer = yield self._proven(request)
            self._prover.learn(str(request.url), answer.headers)

    def _proven(self, request: httpx2.Request) -> httpx2.Request:
        url, token = str(request.url), self._access_token
        request.headers["DPoP"] = self._prover.proof(request.method, url, now=self._now, access_token=token)
        if token is not None:
            request.headers["Authorization"] = f"DPoP {token}"
        return request


def _without_query(url: str) -> str:
    """RFC 9449 4.2: `htu` has neither query nor fragment."""
    return urlunsplit((*urlsplit(url)[:3], "", ""))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
