"""Proof by device key: what an agent signed, and which key that was.

Every body of an agent is a compact JWS by its P-256 key (`agent/wire.py`), judged by its row in `kinds`. Whether a device is
enrolled, a `jti` was seen before or a report comes in turn is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from agent import wire
from gateway.errors import Malformed, Unauthenticated
from gateway.identity import compact
from gateway.identity.claim_rules import LATEST_INSTANT, Expected
from gateway.identity.device_key import DeviceKey, is_thumbprint
from gateway.identity.jwks import PublicKey
from gateway.identity.kinds import BODIES, ENROLMENT, ES256, REDEMPTION, REPORT, Kind
from gateway.identity.verify import FindKey, Verified, verify

MOST_FACTS = 256
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
SIGNED = Expected(issuer="", audience="", algorithms=ES256)
"""A body names neither issuer nor audience: its key is the one and its type the other."""


@dataclass(frozen=True, slots=True)
class VerifiedDeviceClaims:
    """What a device said, proved to come from `key`. Made only in this file."""

    device: str
    key: DeviceKey
    claims: Mapping[str, Any]
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class VerifiedReport:
    """A posture report, proved to come from `device`. Made only in this file; sequence and nonce are not checked."""

    device: str
    report: wire.PostureReport
    issued_at: datetime


def device_id_of(body: bytes) -> str:
    """Read the device id that a body claims, unverified, only to look up the key. Raises Malformed."""
    try:
        kid = compact.parse(body, largest=REPORT.largest).header.get("kid")
    except ValueError as error:
        raise Malformed("signature-form", f"it must be a compact JWS: {error}") from None
    if not isinstance(kid, str) or not is_thumbprint(kid):
        raise Malformed("signature-header", "kid must be the device id, the base64url SHA-256 thumbprint of the key")
    return kid


def verify_enrolment(body: bytes, *, now: datetime) -> VerifiedDeviceClaims:
    """Verify a body that carries its own key: the proof that the sender has the private half."""
    return _by_own_key(ENROLMENT, body, now=now)


def verify_redemption(body: bytes, *, now: datetime) -> VerifiedDeviceClaims:
    """Verify a body that carries its own key and brings an enrolment key."""
    return _by_own_key(REDEMPTION, body, now=now)


def _by_own_key(kind: Kind, body: bytes, *, now: datetime) -> VerifiedDeviceClaims:
    verified = verify(kind, body, SIGNED, None, now=now)
    assert verified.key is not None
    return VerifiedDeviceClaims(verified.key.thumbprint, verified.key, verified.claims, verified.issued_at)


def verify_device(body: bytes, key: DeviceKey, *, typ: str, now: datetime) -> VerifiedDeviceClaims:
    """Verify a body of the given `typ` (agent/wire.py) by an enrolled key. A `jti` is present; its reuse is not known here.

    Raises Malformed for what no agent sends and Unauthenticated for a proof that does not hold.
    """
    verified = verify(BODIES[typ], body, SIGNED, _only(key), now=now)
    return VerifiedDeviceClaims(key.thumbprint, key, verified.claims, verified.issued_at)


def verify_report(body: bytes, key: DeviceKey, *, now: datetime) -> VerifiedReport:
    """Verify a posture report and read it. Raises Malformed that names the member, or Unauthenticated."""
    verified = verify(REPORT, body, SIGNED, _only(key), now=now)
    return VerifiedReport(key.thumbprint, _report(verified), verified.issued_at)


def _only(key: DeviceKey) -> FindKey:
    def find(kid: str | None, _algorithm: str) -> PublicKey:
        if kid != key.thumbprint:
            raise Unauthenticated("device-unknown", "kid is not the device whose key this is")
        return key.public_key

    return find


def _report(verified: Verified) -> wire.PostureReport:
    claims = verified.claims
    if claims.get("v") != wire.VERSION or isinstance(claims["v"], bool):
        _malformed("v", f"{wire.VERSION}; this gateway reads no other version of the report")
    sequence = claims.get("seq")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < 1:
        _malformed("seq", "an integer from 1")
    unchanged = claims.get("unchanged")
    if unchanged is not None and (
        "facts" in claims or not isinstance(unchanged, str) or not _DIGEST.fullmatch(unchanged)
    ):
        _malformed("unchanged", "the SHA-256 of the facts before, in hexadecimal, in place of facts")
    return wire.PostureReport(
        session=_short_text(claims.get("session"), "session"),
        sequence=sequence,
        nonce=_short_text(claims.get("nonce"), "nonce"),
        issued_at=_instant(claims.get("iat"), "iat"),
        facts=_facts(claims.get("facts")) if unchanged is None else {},
        unchanged=unchanged,
        quote=_quote(claims["quote"]) if "quote" in claims else None,
    )


def _quote(members: object) -> wire.Quote:
    if not isinstance(members, dict):
        _malformed("quote", "an object")
    try:
        return wire.Quote.from_json(members)
    except ValueError as error:
        raise Malformed("report", str(error)) from None


def _facts(members: object) -> dict[str, wire.Fact]:
    if not isinstance(members, dict) or len(members) > MOST_FACTS:
        _malformed("facts", f"an object of at most {MOST_FACTS} facts")
    return {name: _fact(name, fact) for name, fact in members.items()}


def _fact(name: str, members: object) -> wire.Fact:
    _short_text(name, "a fact's name")
    if not isinstance(members, dict):
        _malformed(f"facts.{name}", "an object")
    try:
        fact = wire.Fact.from_json(members)
    except ValueError as error:
        raise Malformed("report", f"facts.{name}: {error}") from None
    _instant(fact.observed_at, f"facts.{name}.observed_at")
    return fact


def _instant(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_INSTANT:
        _malformed(name, "Unix time in seconds")
    return float(value)


def _short_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        _malformed(name, "a text of 1 to 128 characters")
    return value


def _malformed(name: str, allowed: str) -> NoReturn:
    raise Malformed("report" if name.startswith("facts") else "claims", f"{name} must be {allowed}")
