"""What time alone changes: leases and sessions that end, decisions that are valid no longer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, or_
from sqlmodel import Session, col, select

from gateway.access import sessions
from gateway.access.sessions import EndReason
from gateway.policy.model import Subject
from gateway.policy.plan import idle
from gateway.policy.policy import Policy
from gateway.policy.stage import InForce, ruling
from gateway.store import tables


def due(db: Session, rules: Policy | InForce, *, now: datetime) -> Sequence[str]:
    """Name the live sessions that must be looked at: their instant has come, or the policy is another one now.

    A session that the breaker holds keeps the version of its verdict, and is looked at when its instant comes.
    """
    rows = tables.Session
    other = col(rows.policy_version).not_in(ruling(rules).versions)
    stale = or_(col(rows.due_at) <= now, and_(other, col(rows.held_by).is_(None)))
    return db.exec(select(rows.id).where(col(rows.live_device).is_not(None), stale)).all()


def misplaced(db: Session, rules: InForce) -> list[str]:
    """Name the live sessions that a stage has moved to the other policy. Looks at every session: not for every tick."""
    rows = tables.Session
    live = select(rows.id, rows.device, rows.groups, rows.policy_version)
    found = db.exec(live.where(col(rows.live_device).is_not(None), col(rows.held_by).is_(None))).all()
    return [name for name, device, groups, version in found if rules.of(device, groups).version != version]


def next_due(db: Session) -> datetime | None:
    """Give the next instant at which `due` may find something by time alone."""
    rows = tables.Session
    return db.exec(select(func.min(rows.due_at)).where(col(rows.live_device).is_not(None))).one()


def reevaluate(db: Session, rules: Policy | InForce, session: str, *, now: datetime) -> bool:
    """End the session if its time is over, else decide again. Says whether anything changed for the agent."""
    found = db.get(tables.Session, session)
    if found is None or found.live_device is None:
        return False
    over = over_by(found, ruling(rules).of(found.device, found.groups), now=now)
    if over is not None:
        sessions.end(db, found, over, now=now)
        return True
    try:
        return sessions.judge(db, rules, found, sessions.latest_posture(db, found), now=now)
    except (ValueError, TypeError, KeyError, AttributeError):
        # A row that does not hold what it should is worth no access; the other sessions go on.
        sessions.end(db, found, EndReason.BROKEN, now=now)
        return True


def over_by(session: tables.Session, policy: Policy, *, now: datetime) -> EndReason | None:
    """Give why the session's time is over, or None."""
    if ended_by_time(session, now=now):
        return EndReason.EXPIRED if session.expires_at <= now else EndReason.SILENT
    subject = Subject(session.user, frozenset(session.groups), session.device)
    return EndReason.IDLE if idle(session.active_at, policy, subject, now=now) else None


def ended_by_time(session: tables.Session, *, now: datetime) -> bool:
    """Say whether the session is over whatever the policy says."""
    return session.expires_at <= now or session.lease_until <= now
