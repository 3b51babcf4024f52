"""What a claim of a provider's token must be (OIDC Core 3.1.3.7, Back-Channel Logout 1.0 section 2.6), one rule each.

A rule takes the claims and what is expected of them, and raises `Broken`. Which kind of token must keep which rules
stands in `verify`; nothing here knows a key or a signature.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.identity.compact import base64url

CLOCK_SKEW = timedelta(seconds=30)
LONGEST_LIFETIME = timedelta(days=31)
"""Longer than the session of any provider. A token for ten years is a mistake or a forgery."""

LONGEST_TEXT = 255
"""OIDC Core 2: `sub` must not exceed 255 ASCII characters."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512, "DSA": hashlib.sha512}
"""For `at_hash`, by the end of the algorithm's name; Ed25519 hashes with SHA-512."""


class Broken(Exception):
    """A rule that a token breaks: the check's name for machines, and why for a person."""

    def __init__(self, check: str, why: str) -> None:
        super().__init__(why)
        self.check = check


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must say. `algorithms` are those that the provider announces; the rest is for ID tokens alone."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    nonce: str = ""
    access_token: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """Claims whose signature holds, and the algorithm that it was made with."""

    claims: Mapping[str, Any]
    algorithm: str


def issuer(token: Signed, expected: Expected) -> None:
    if token.claims.get("iss") != expected.issuer:
        raise Broken("issuer", f"iss must be {expected.issuer!r}, letter for letter")


def audience(token: Signed, expected: Expected) -> None:
    """OIDC Core 3.1.3.7 steps 3 to 5. No other audience is trusted, so none may stand beside ours."""
    if token.claims.get("aud") not in (expected.audience, [expected.audience]):
        raise Broken("audience", f"aud must be {expected.audience!r} alone")
    if "azp" in token.claims and token.claims["azp"] != expected.audience:
        raise Broken("audience", f"azp must be {expected.audience!r}")


def nonce(token: Signed, expected: Expected) -> None:
    found = token.claims.get("nonce")
    if not expected.nonce or not isinstance(found, str):
        raise Broken("nonce", "a login without a nonce proves nothing")
    if not hmac.compare_digest(found.encode(), expected.nonce.encode()):
        raise Broken("nonce", "it belongs to another login")


def no_nonce(token: Signed, _expected: Expected) -> None:
    """Back-Channel Logout 2.4: so that an ID token never passes for a logout token."""
    if "nonce" in token.claims:
        raise Broken("nonce", "a logout token has no nonce")


def logout_event(token: Signed, _expected: Expected) -> None:
    events = token.claims.get("events")
    if not isinstance(events, dict) or set(events) != {LOGOUT_EVENT} or not isinstance(events[LOGOUT_EVENT], dict):
        raise Broken("events", f'events must be {{"{LOGOUT_EVENT}": {{}}}} and nothing more')


def access_token_hash(token: Signed, expected: Expected) -> None:
    """OIDC Core 3.1.3.6: the left half of the hash. Present and not checkable is refused."""
    if "at_hash" not in token.claims:
        return
    if expected.access_token is None or token.claims["at_hash"] != at_hash(expected.access_token, token.algorithm):
        raise Broken("hash", "at_hash is not that of the access token")


def at_hash(access_token: str, algorithm: str) -> str:
    """Compute `at_hash` for a token that is signed with one of the allowed algorithms."""
    digest = HASHES[algorithm[-3:]](access_token.encode()).digest()
    return base64url(digest[: len(digest) // 2])


def check_times(claims: Mapping[str, Any], *, oldest: timedelta, endless: bool, now: datetime) -> datetime:
    """Check iat, exp and nbf; `endless` allows a token without exp. Gives when it was issued."""
    issued_at = instant(claims, "iat")
    if not now - oldest <= issued_at <= now + CLOCK_SKEW:
        minutes = oldest // timedelta(minutes=1)
        raise Broken("time", f"iat must be of the last {minutes} minutes; compare the clocks")
    if not endless or "exp" in claims:
        _check_expiry(issued_at, instant(claims, "exp"), now=now)
    if "nbf" in claims and instant(claims, "nbf") > now + CLOCK_SKEW:
        raise Broken("time", "it is not valid yet")
    return issued_at


def _check_expiry(issued_at: datetime, expires_at: datetime, *, now: datetime) -> None:
    if expires_at <= now - CLOCK_SKEW:
        raise Broken("time", "it has expired")
    if expires_at <= issued_at or expires_at - issued_at > LONGEST_LIFETIME:
        raise Broken("time", f"exp must be after iat by at most {LONGEST_LIFETIME.days} days")


def instant(claims: Mapping[str, Any], name: str) -> datetime:
    """Read an RFC 7519 NumericDate, with or without a fraction."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Broken("time", f"{name} must be a number of seconds")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise Broken("time", f"{name} is beyond every calendar") from None


def text(claims: Mapping[str, Any], name: str, check: str) -> str:
    """Read a claim that names something: 1 to 255 printable characters."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise Broken(check, f"{name} must be a text of 1 to {LONGEST_TEXT} characters")
    return value


def optional_text(claims: Mapping[str, Any], name: str, check: str) -> str | None:
    """Read such a claim where it may be absent; present, it must hold."""
    return text(claims, name, check) if name in claims else None
