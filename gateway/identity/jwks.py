"""The provider's signing keys: which there are, how long they are believed, when they are asked for again.

A key that the provider withdraws is refused five minutes later. While the key set cannot be fetched, known keys go on
for as long as the provider allowed plus an hour, and never longer than a day. Nothing that a token says causes more than
two requests a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity.http import Document, Egress

REFRESH = timedelta(minutes=5)
MAXIMUM_AGE = timedelta(hours=24)
GRACE = timedelta(hours=1)
"""How long a failed refresh may go on beyond what Cache-Control allowed."""

MOST_FETCHES = 2
FETCH_WINDOW = timedelta(minutes=1)
MOST_KEYS = 64
SMALLEST_RSA = 2048
LARGEST_RSA = 8192
"""Bits; a larger key makes verification a way to keep us busy."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

ALGORITHMS: Mapping[tuple[str, str | None], frozenset[str]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
"""What a key of a type may be used for. There is no symmetric key and no `none`, whatever a provider announces."""

ALLOWED = frozenset().union(*ALGORITHMS.values())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of the set and what it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    public_key: PublicKey


class KeySet:
    """The keys behind a jwks_uri. Safe to use from several threads."""

    def __init__(self, url: str, http: Egress) -> None:
        self.url = url
        self._http = http
        self._keys: tuple[SigningKey, ...] = ()
        self._fetched_at: datetime | None = None
        self._usable_for = timedelta()
        self._fetches: list[datetime] = []
        self._fetched = 0
        self._failure = "not fetched yet"
        self._lock = threading.Lock()
        self._asking = (
            threading.Lock()
        )  # held while a request is on its way: who has the key that is asked for does not wait

    def find(self, kid: str | None, algorithm: str, *, now: datetime) -> PublicKey:
        """Give the one key that `kid` names and that may be used with `algorithm`.

        Raises Unauthenticated when there is none or it is not clear which, ProviderError when no key is known at all.
        """
        with self._lock:
            fresh, usable = self._younger(REFRESH, now), self._younger(self._usable_for, now)
            seen = self._fetched
        if not fresh:
            self._refresh(now, seen, wait=not usable)
        found, seen = self._look(kid, algorithm, now)
        if not found and self._refresh(now, seen, wait=True):  # a key may have been rotated in a moment ago
            found, _ = self._look(kid, algorithm, now)
        if len(found) != 1:
            several = "names several keys" if found else "names no key that the provider publishes for it"
            raise Unauthenticated("key-unknown", f"its kid, for the algorithm {algorithm}, {several}")
        return found[0].public_key

    def _look(self, kid: str | None, algorithm: str, now: datetime) -> tuple[list[SigningKey], int]:
        with self._lock:
            return self._matching(kid, algorithm, now), self._fetched

    def _refresh(self, now: datetime, seen: int, *, wait: bool) -> bool:
        """Ask the provider, unless somebody has since `seen`. Says whether there are newer keys.

        Whoever can do without does not wait for a request of somebody else's that is on its way.
        """
        if not self._asking.acquire(blocking=wait):
            return False
        try:
            with self._lock:
                if self._fetched != seen:
                    return True
                if not self._may_ask(now):
                    return False
            return self._fetch(now)
        finally:
            self._asking.release()

    def _matching(self, kid: str | None, algorithm: str, now: datetime) -> list[SigningKey]:
        if not self._younger(self._usable_for, now):
            raise ProviderError(f"no usable signing keys of the provider are known: {self._failure}")
        if kid is None:  # OIDC Core 10.1: only a set of one key may leave it out
            only = self._keys if len(self._keys) == 1 else ()
            return [key for key in only if algorithm in key.algorithms]
        return [key for key in self._keys if key.kid == kid and algorithm in key.algorithms]

    def _may_ask(self, now: datetime) -> bool:
        self._fetches = [at for at in self._fetches if timedelta() <= now - at < FETCH_WINDOW]
        if len(self._fetches) >= MOST_FETCHES:
            return False
        self._fetches.append(now)
        return True

    def _fetch(self, now: datetime) -> bool:
        try:
            document = self._http.get_json(self.url)
            keys = read_keys(document.members)
        except ProviderError as error:
            with self._lock:
                self._failure = str(error)
            return False
        with self._lock:
            self._keys, self._fetched_at, self._usable_for = keys, now, _usable_for(document)
            self._fetched += 1
        return True

    def _younger(self, age: timedelta, now: datetime) -> bool:
        """A clock that went back makes every key old, or it would make every key young."""
        return self._fetched_at is not None and timedelta() <= now - self._fetched_at < age


def read_keys(members: Mapping[str, Any]) -> tuple[SigningKey, ...]:
    """Read a JWK set (RFC 7517 section 5), leaving out what no ID token may be signed with. Raises ProviderError."""
    listed = members.get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ProviderError(f"the provider's key set must have a list `keys` of at most {MOST_KEYS}")
    keys = tuple(_usable(listed))
    if not keys:
        raise ProviderError(
            "the provider's key set has no key that may sign: RSA from 2048 bits, P-256/384/521, Ed25519"
        )
    return keys


def _usable(listed: Iterable[object]) -> Iterable[SigningKey]:
    for jwk in listed:
        if isinstance(jwk, dict) and (key := _signing_key(jwk)) is not None:
            yield key


def _signing_key(jwk: dict[str, Any]) -> SigningKey | None:
    """Give None for a key that is of no use here: RFC 7517 section 5 says to ignore it."""
    kty, crv, kid = jwk.get("kty"), jwk.get("crv"), jwk.get("kid")
    if not all(value is None or isinstance(value, str) for value in (kty, crv, kid)) or "d" in jwk:
        return None
    if jwk.get("use", "sig") != "sig" or not _may_verify(jwk.get("key_ops", ["verify"])):
        return None
    algorithms = ALGORITHMS.get((kty or "", crv if kty != "RSA" else None), frozenset())
    if "alg" in jwk:
        algorithms = algorithms.intersection({alg} if isinstance(alg := jwk["alg"], str) else ())
    public_key = _public_key(jwk, min(algorithms)) if algorithms else None
    return SigningKey(kid, algorithms, public_key) if public_key is not None else None


def _may_verify(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _public_key(jwk: dict[str, Any], algorithm: str) -> PublicKey | None:
    try:
        key = jwt.PyJWK(jwk, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey):
        strong = SMALLEST_RSA <= key.key_size <= LARGEST_RSA and key.public_numbers().e >= 3
        return key if strong else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None


def _usable_for(document: Document) -> timedelta:
    if document.max_age is None:
        return MAXIMUM_AGE
    return min(MAXIMUM_AGE, timedelta(seconds=document.max_age) + GRACE)
