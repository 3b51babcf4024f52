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

MOST_NAMES = 32
"""Of authentication methods: RFC 8176 knows twenty."""

LATEST_INSTANT = 253_402_300_799
"""The last second of the year 9999: what a datetime can hold."""

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
    """What the token must say. `algorithms` are those that its issuer announces; of the rest each kind needs its own.

    `nonce` is an ID token's; a DPoP proof has one of `nonces`, `method`, `url` and, where it is known, `holder`.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    nonce: str = ""
    access_token: str | None = None
    method: str = ""
    url: str = ""
    holder: str | None = None
    nonces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Signed:
    """Claims whose signature holds, the algorithm that it was made with, and whose own key in the header it was."""

    claims: Mapping[str, Any]
    algorithm: str
    holder: str | None = None


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
        raise Broken("nonce", "only an ID token has a nonce")


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


def jti(token: Signed, _expected: Expected) -> None:
    text(token.claims, "jti", "jti")


def one_event(token: Signed, _expected: Expected) -> None:
    """CAEP interoperability profile 2.3.1.1: one event in a token; its members are an object."""
    events = token.claims.get("events")
    if (
        not isinstance(events, dict)
        or len(events) != 1
        or not all(isinstance(event, dict) for event in events.values())
    ):
        raise Broken("events", "events must be an object with one event")


def issued_at(claims: Mapping[str, Any], *, oldest: timedelta, ahead: timedelta, now: datetime) -> datetime:
    """Give when the token was issued, which is neither too long ago nor in the future."""
    at = instant(claims, "iat")
    if not now - oldest <= at <= now + ahead:
        off = abs(at - now).total_seconds()
        allowed = f"{oldest.total_seconds():.0f} s behind it and {ahead.total_seconds():.0f} s ahead"
        raise Broken("time", f"iat is {off:.0f} s from the gateway's clock, allowed are {allowed}; compare the clocks")
    return at


def lifetime(claims: Mapping[str, Any], at: datetime, *, longest: timedelta, now: datetime) -> None:
    """Check that a token issued at `at` has an end, and that it has not come."""
    expires_at = instant(claims, "exp")
    if expires_at <= now - CLOCK_SKEW:
        raise Broken("time", "it has expired")
    if expires_at <= at or expires_at - at > longest:
        raise Broken("time", f"exp must be after iat by at most {longest.total_seconds():.0f} s")


def begun(claims: Mapping[str, Any], *, now: datetime) -> None:
    """Check nbf where there is one."""
    if "nbf" in claims and instant(claims, "nbf") > now + CLOCK_SKEW:
        raise Broken("time", "it is not valid yet")


def instant(claims: Mapping[str, Any], name: str) -> datetime:
    """Read an RFC 7519 NumericDate, with or without a fraction."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_INSTANT:
        raise Broken("instant", f"{name} must be a number of seconds since 1970")
    return datetime.fromtimestamp(value, UTC)


def text(claims: Mapping[str, Any], name: str, check: str) -> str:
    """Read a claim that names something: 1 to 255 printable characters."""
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise Broken(check, f"{name} must be a text of 1 to {LONGEST_TEXT} characters")
    return value


def named(value: object) -> str | None:
    """Read a claim that opens something only when it is a name."""
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable() else None


def names(value: object) -> tuple[str, ...]:
    """Read a list of such names, leaving out what is none."""
    listed = value[:MOST_NAMES] if isinstance(value, list) else []
    return tuple(name for name in map(named, listed) if name is not None)


def optional_text(claims: Mapping[str, Any], name: str, check: str) -> str | None:
    """Read such a claim where it may be absent; present, it must hold."""
    return text(claims, name, check) if name in claims else None
