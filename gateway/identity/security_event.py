"""What a security event says (RFC 8417, CAEP 1.0), and about whom (RFC 9493). Pure: the token is verified already.

An event that we do not act on is none to us, and neither is a subject whose members we cannot tell apart: both are
acknowledged, recorded, and change nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.errors import Malformed
from gateway.identity.claim_rules import LONGEST_TEXT
from gateway.identity.verify import Verified

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
STREAM = "https://schemas.openid.net/secevent/ssf/event-type/"


class Kind(enum.StrEnum):
    """What happened. The value is what the audit log calls it."""

    SESSION_REVOKED = "session-revoked"
    CREDENTIAL_CHANGE = "credential-change"
    COMPLIANCE_CHANGE = "device-compliance-change"
    CLAIMS_CHANGE = "token-claims-change"
    ASSURANCE_CHANGE = "assurance-level-change"
    RISK_CHANGE = "risk-level-change"
    ACCOUNT_DISABLED = "account-disabled"
    ACCOUNT_PURGED = "account-purged"
    VERIFICATION = "verification"
    STREAM_UPDATED = "stream-updated"


TYPES: Mapping[str, Kind] = {
    **{
        CAEP + kind.value: kind
        for kind in (
            Kind.SESSION_REVOKED,
            Kind.CREDENTIAL_CHANGE,
            Kind.COMPLIANCE_CHANGE,
            Kind.CLAIMS_CHANGE,
            Kind.ASSURANCE_CHANGE,
            Kind.RISK_CHANGE,
        )
    },
    **{RISC + kind.value: kind for kind in (Kind.ACCOUNT_DISABLED, Kind.ACCOUNT_PURGED)},
    **{STREAM + kind.value: kind for kind in (Kind.VERIFICATION, Kind.STREAM_UPDATED)},
}

WANTED = tuple(name for name, kind in TYPES.items() if kind not in (Kind.VERIFICATION, Kind.STREAM_UPDATED))
"""What a stream is asked for; the events about the stream itself come unasked."""

UNDERSTOOD = frozenset({"format", "user", "device", "session", "tenant", "org_unit", "group", "application"})
"""Members of a complex subject that we know the meaning of (SSF 1.0 section 3.4)."""


@dataclass(frozen=True, slots=True)
class EventSubject:
    """Whom an event is about; what is None was not said. A user is an issuer's subject, or a name such as an address."""

    issuer: str | None = None
    subject: str | None = None
    name: str | None = None
    sid: str | None = None
    device: str | None = None

    @property
    def empty(self) -> bool:
        return (self.subject, self.name, self.sid, self.device) == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One event. `kind` None is one that we do not act on; `at` is when it happened, by the transmitter's clock."""

    kind: Kind | None
    type: str
    jti: str
    issuer: str
    subject: EventSubject
    at: datetime
    members: Mapping[str, Any]


def read(verified: Verified, *, critical: frozenset[str]) -> SecurityEvent:
    """Read a verified SET. `critical` are the transmitter's critical subject members.

    Raises Malformed `set-subject` when it is about somebody in words that we must not guess at, `set-events` when the
    event's own members are wrong.
    """
    claims = verified.claims
    (name, members), *_ = claims["events"].items()
    kind = TYPES.get(name)
    subject = EventSubject()
    if kind is not None and kind not in (Kind.VERIFICATION, Kind.STREAM_UPDATED):
        subject = _subject(claims.get("sub_id"), critical)
        CHECKS.get(kind, _nothing)(members)
    return SecurityEvent(
        kind, name[:LONGEST_TEXT], str(claims["jti"]), str(claims["iss"]), subject, _at(members, verified), members
    )


def _at(members: Mapping[str, Any], verified: Verified) -> datetime:
    """CAEP 2: `event_timestamp` is when it happened; an event of the future happened when it was told."""
    given = members.get("event_timestamp")
    if given is None:
        return verified.issued_at
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1 << 33:
        raise Malformed("set-events", "event_timestamp must be Unix time in seconds")
    return min(datetime.fromtimestamp(given, UTC), verified.issued_at)


def _subject(found: object, critical: frozenset[str]) -> EventSubject:
    if not isinstance(found, dict) or not isinstance(found.get("format"), str):
        raise Malformed("set-subject", "sub_id must be a subject identifier (RFC 9493)")
    if found["format"] != "complex":
        return _user(found) if found["format"] != "opaque" else EventSubject(sid=_text(found, "id"))
    unknown = (set(found) & critical) - UNDERSTOOD
    if unknown:  # SSF 1.0 section 3.4.1: an event whose critical member is not understood is discarded
        raise Malformed("set-subject", f"the critical member {min(unknown)} of the subject is not understood")
    parts = {name: found[name] for name in ("user", "session", "device") if name in found}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise Malformed("set-subject", "each member of a complex subject must be a subject identifier")
    user = _user(parts["user"]) if "user" in parts else EventSubject()
    sid, device = (_name(parts[name]) if name in parts else None for name in ("session", "device"))
    return EventSubject(user.issuer, user.subject, user.name, sid, device)


def _user(part: Mapping[str, Any]) -> EventSubject:
    match part.get("format"):
        case "iss_sub":
            return EventSubject(issuer=_text(part, "iss"), subject=_text(part, "sub"))
        case "email":
            return EventSubject(name=_text(part, "email"))
        case "account":
            return EventSubject(name=_text(part, "uri").removeprefix("acct:"))
        case other:
            raise Malformed("set-subject", f"a user must be iss_sub, email or account, not {str(other)[:40]!r}")


def _name(part: Mapping[str, Any]) -> str:
    """Read what names a session or a device: its opaque id, or the subject at its issuer."""
    match part.get("format"):
        case "opaque":
            return _text(part, "id")
        case "iss_sub":
            return _text(part, "sub")
        case other:
            raise Malformed("set-subject", f"a session or device must be opaque or iss_sub, not {str(other)[:40]!r}")


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise Malformed("set-subject", f"{name} must be a text of at most {LONGEST_TEXT} characters")
    return value


def _one_of(member: str, *allowed: str) -> Callable[[Mapping[str, Any]], None]:
    def check(members: Mapping[str, Any]) -> None:
        if members.get(member) not in allowed:
            raise Malformed("set-events", f"{member} must be {' or '.join(allowed)}")

    return check


def _claims(members: Mapping[str, Any]) -> None:
    if not isinstance(members.get("claims"), dict):
        raise Malformed("set-events", "claims must be an object")


def _nothing(_members: Mapping[str, Any]) -> None:
    """Most events need no member to be acted on."""


CHECKS: Mapping[Kind, Callable[[Mapping[str, Any]], None]] = {
    Kind.CREDENTIAL_CHANGE: _one_of("change_type", "create", "revoke", "update", "delete"),
    Kind.COMPLIANCE_CHANGE: _one_of("current_status", "compliant", "not-compliant"),
    Kind.ASSURANCE_CHANGE: _one_of("change_direction", "increase", "decrease"),
    Kind.RISK_CHANGE: _one_of("current_level", "LOW", "MEDIUM", "HIGH"),
    Kind.CLAIMS_CHANGE: _claims,
}
"""What an event must say before it has an effect (CAEP 1.0 section 3)."""
