"""The strict verifier of ID tokens (OIDC Core 3.1.3.7, RFC 8725). Every ID token passes here, and only here.

First what costs little: length, form, header. Then the signature, then the claims. What is allowed is decided by the
gateway; the provider's metadata can only narrow it. Whether a login belongs to this browser is not known here beyond
the nonce.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from gateway.errors import Unauthenticated
from gateway.identity import compact
from gateway.identity.compact import CompactJws, base64url
from gateway.identity.jwks import ALLOWED, PublicKey

LARGEST_TOKEN = 64 * 1024
"""Bytes: room for a thousand groups."""

CLOCK_SKEW = timedelta(seconds=30)
OLDEST = timedelta(minutes=10)
"""The code flow makes the token while we wait: an older one is somebody else's."""

LONGEST_LIFETIME = timedelta(days=31)
"""Longer than the session of any provider. A token for ten years is a mistake or a forgery."""

LONGEST_TEXT = 255
"""OIDC Core 2: `sub` must not exceed 255 ASCII characters."""

REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"})
"""Header parameters that bring their own key or change what the token means (RFC 8725 sections 3.1, 3.10)."""

HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512, "DSA": hashlib.sha512}
"""For `at_hash`, by the end of the algorithm's name; Ed25519 hashes with SHA-512."""

FindKey = Callable[[str | None, str], PublicKey]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token of this login must say. `algorithms` are those that the provider announces."""

    issuer: str
    audience: str
    nonce: str
    algorithms: frozenset[str]
    access_token: str | None


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """The claims of a token that passed every check. Made only in this file."""

    issuer: str
    subject: str
    issued_at: datetime
    expires_at: datetime
    authenticated_at: datetime
    claims: Mapping[str, Any]


def verify_id_token(token: object, expected: Expected, find_key: FindKey, *, now: datetime) -> VerifiedClaims:
    """Verify an ID token. `find_key` gives the key for (kid, alg).

    Raises Unauthenticated with a code `login-token-…` that names the check, or what `find_key` raises.
    """
    jws = _parse(token)
    algorithm = _check_header(jws.header, expected)
    _check_signature(jws, algorithm, find_key)
    try:
        claims = jws.claims()
    except ValueError as error:
        raise _refused("malformed", str(error)) from None
    _check_issuer(claims, expected)
    _check_audience(claims, expected)
    _check_nonce(claims, expected)
    _check_access_token_hash(claims, algorithm, expected)
    return _verified(claims, expected, now=now)


def _parse(token: object) -> CompactJws:
    if not isinstance(token, str) or not token:
        raise _refused("missing", "the provider gave no ID token")
    try:
        return compact.parse(token.encode("ascii"), largest=LARGEST_TOKEN)
    except UnicodeEncodeError:
        raise _refused("malformed", "it has characters beyond ASCII") from None
    except ValueError as error:
        raise _refused("malformed", str(error)) from None


def _check_header(header: Mapping[str, Any], expected: Expected) -> str:
    foreign = sorted(REFUSED_PARAMETERS & set(header))
    if foreign:
        raise _refused("header", f"the header parameter {foreign[0]} is not allowed")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":  # RFC 8725 3.11: logout+jwt and at+jwt are no ID tokens
        raise _refused("type", "typ must be JWT or absent")
    algorithm = header.get("alg")
    allowed = ALLOWED & expected.algorithms
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise _refused("algorithm", f"allowed for this provider: {', '.join(sorted(allowed)) or 'none'}")
    return algorithm


def _check_signature(jws: CompactJws, algorithm: str, find_key: FindKey) -> None:
    kid = jws.header.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_TEXT):
        raise _refused("key", f"kid must be a text of at most {LONGEST_TEXT} characters")
    key = find_key(kid, algorithm)
    if not jwt.get_algorithm_by_name(algorithm).verify(jws.signing_input, key, jws.signature):
        raise _refused("signature", "the signature does not hold")


def _check_issuer(claims: Mapping[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise _refused("issuer", f"iss must be {expected.issuer!r}, letter for letter")


def _check_audience(claims: Mapping[str, Any], expected: Expected) -> None:
    """OIDC Core 3.1.3.7 steps 3 to 5. No other audience is trusted, so none may stand beside ours."""
    if claims.get("aud") not in (expected.audience, [expected.audience]):
        raise _refused("audience", f"aud must be {expected.audience!r} alone")
    if "azp" in claims and claims["azp"] != expected.audience:
        raise _refused("audience", f"azp must be {expected.audience!r}")


def _check_nonce(claims: Mapping[str, Any], expected: Expected) -> None:
    nonce = claims.get("nonce")
    if not expected.nonce or not isinstance(nonce, str):
        raise _refused("nonce", "a login without a nonce proves nothing")
    if not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _refused("nonce", "it belongs to another login")


def _check_access_token_hash(claims: Mapping[str, Any], algorithm: str, expected: Expected) -> None:
    """OIDC Core 3.1.3.6: the left half of the hash. Present and not checkable is refused."""
    if "at_hash" not in claims:
        return
    if expected.access_token is None or claims["at_hash"] != access_token_hash(expected.access_token, algorithm):
        raise _refused("hash", "at_hash is not that of the access token")


def access_token_hash(access_token: str, algorithm: str) -> str:
    """Compute `at_hash` for a token that is signed with one of the allowed algorithms."""
    digest = HASHES[algorithm[-3:]](access_token.encode()).digest()
    return base64url(digest[: len(digest) // 2])


def _verified(claims: Mapping[str, Any], expected: Expected, *, now: datetime) -> VerifiedClaims:
    issued_at, expires_at = _instant(claims, "iat"), _instant(claims, "exp")
    if not now - OLDEST <= issued_at <= now + CLOCK_SKEW:
        raise _refused("time", "iat must be of the last ten minutes; compare the clocks")
    if expires_at <= now - CLOCK_SKEW:
        raise _refused("time", "it has expired")
    if expires_at <= issued_at or expires_at - issued_at > LONGEST_LIFETIME:
        raise _refused("time", f"exp must be after iat by at most {LONGEST_LIFETIME.days} days")
    if "nbf" in claims and _instant(claims, "nbf") > now + CLOCK_SKEW:
        raise _refused("time", "it is not valid yet")
    authenticated_at = _instant(claims, "auth_time") if claims.get("auth_time") else issued_at
    if authenticated_at > now + CLOCK_SKEW:
        raise _refused("time", "auth_time lies in the future")
    return VerifiedClaims(expected.issuer, _subject(claims), issued_at, expires_at, authenticated_at, claims)


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    """RFC 7519 NumericDate, with or without a fraction."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused("time", f"{name} must be a number of seconds")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise _refused("time", f"{name} is beyond every calendar") from None


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_TEXT or not subject.isprintable():
        raise _refused("subject", f"sub must be a text of 1 to {LONGEST_TEXT} characters")
    return subject


def _refused(check: str, why: str) -> Unauthenticated:
    return Unauthenticated(f"login-token-{check}", f"the provider's ID token is refused: {why}")
