"""What time alone changes: leases and sessions that end, decisions that are valid no longer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from gateway.access import sessions
from gateway.access.sessions import EndReason
from gateway.policy.plan import idle
from gateway.policy.policy import Policy
from gateway.store import tables


def due(db: Session, policy: Policy, *, now: datetime) -> Sequence[str]:
    """Name the live sessions that must be looked at: their instant has come, or the policy is another one now."""
    rows = tables.Session
    stale = or_(col(rows.due_at) <= now, col(rows.policy_version) != policy.version)
    return db.exec(select(rows.id).where(col(rows.live_device).is_not(None), stale)).all()


def next_due(db: Session) -> datetime | None:
    """Give the next instant at which `due` may find something by time alone."""
    rows = tables.Session
    return db.exec(select(func.min(rows.due_at)).where(col(rows.live_device).is_not(None))).one()


def reevaluate(db: Session, policy: Policy, session: str, *, now: datetime) -> bool:
    """End the session if its time is over, else decide again. Says whether anything changed for the agent."""
    found = db.get(tables.Session, session)
    if found is None or found.live_device is None:
        return False
    over = over_by(found, policy, now=now)
    if over is not None:
        sessions.end(db, found, over, now=now)
        return True
    try:
        return sessions.judge(db, policy, found, sessions.latest_posture(db, found), now=now)
    except (ValueError, TypeError, KeyError, AttributeError):
        # A row that does not hold what it should is worth no access; the other sessions go on.
        sessions.end(db, found, EndReason.BROKEN, now=now)
        return True


def over_by(session: tables.Session, policy: Policy, *, now: datetime) -> EndReason | None:
    """Give why the session's time is over, or None."""
    if ended_by_time(session, now=now):
        return EndReason.EXPIRED if session.expires_at <= now else EndReason.SILENT
    return EndReason.IDLE if idle(session.active_at, policy, now=now) else None


def ended_by_time(session: tables.Session, *, now: datetime) -> bool:
    """Say whether the session is over whatever the policy says."""
    return session.expires_at <= now or session.lease_until <= now
