"""The audit log: what was granted, refused, changed and ended, by whom. A row is part of the transaction it tells about,
so that it is durable before any answer depends on it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from gateway.store import tables

PAGE = 500


class Event(enum.StrEnum):
    """Everything that the log can tell."""

    DEVICE_ENROLLED = "device.enrolled"
    DEVICE_LOGGED_IN = "device.logged-in"
    DEVICE_APPROVED = "device.approved"
    DEVICE_REVOKED = "device.revoked"
    DEVICE_QUARANTINED = "device.quarantined"
    DEVICE_RELEASED = "device.released"
    DEVICE_ATTESTED = "device.attested"
    KEY_CREATED = "enrolment-key.created"
    KEY_WITHDRAWN = "enrolment-key.withdrawn"
    TOKENS_ENDED = "tokens.ended"
    LOGIN_REFUSED = "login.refused"
    SESSION_BEGAN = "session.began"
    SESSION_REFUSED = "session.refused"
    SESSION_DOWNGRADED = "session.downgraded"
    SESSION_RENEWED = "session.renewed"
    SESSION_RESTORED = "session.restored"
    SESSION_FINDINGS = "session.findings-changed"
    SESSION_ENDED = "session.ended"
    SESSION_KILLED = "session.killed"
    SESSION_HELD = "session.held"
    POLICY_APPLIED = "policy.applied"
    BREAKER_OPENED = "breaker.opened"
    BREAKER_CLOSED = "breaker.closed"
    EVENT_STREAM_MADE = "event-stream.made"
    SECURITY_EVENT = "security-event.accepted"
    SECURITY_EVENT_REFUSED = "security-event.refused"
    LOGIN_VOIDED = "login.voided"
    LOGIN_CHECKED = "login.claims-changed"
    LOGIN_BY_CODE = "login.by-code"
    SIGNAL_RECEIVED = "signal.received"
    SIGNAL_IGNORED = "signal.ignored"
    STREAM_CHANGED = "stream.changed"
    CREDENTIAL_ISSUED = "credential.issued"
    CREDENTIAL_REFUSED = "credential.refused"
    ADMINISTRATOR_LOGGED_OUT = "administrator.logged-out"
    ADMINISTRATOR_LOGGED_IN = "administrator.logged-in"
    ADMINISTRATOR_REFUSED = "administrator.refused"
    API_TOKEN_CREATED = "api-token.created"  # noqa: S105
    API_TOKEN_REVOKED = "api-token.revoked"  # noqa: S105


GATEWAY = "gateway"
"""The actor of what happens by policy or by time."""


def record(
    db: Session,
    event: Event,
    *,
    now: datetime,
    actor: str,
    device: str | None = None,
    session: str | None = None,
    **details: Any,
) -> None:
    """Add one row to the transaction. `details` are JSON values and never secrets."""
    db.add(tables.Audit(at=now, event=event.value, actor=actor, device=device, session=session, details=details))


def after(db: Session, sequence: int, *, limit: int = PAGE) -> Sequence[tables.Audit]:
    """List the rows that follow `sequence`, oldest first, at most `limit`."""
    rows = select(tables.Audit).where(col(tables.Audit.sequence) > sequence)
    return db.exec(rows.order_by(col(tables.Audit.sequence)).limit(limit)).all()
