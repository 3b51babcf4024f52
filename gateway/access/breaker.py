"""The mass-cut breaker: one cause that would cut too many live sessions in a short time is asked about before it goes on.

A cause is a check, or a policy that was applied. While its hold is open, a live session that this cause alone would cut
keeps the verdict that it has; it still ends with its lease and its longest duration, and whoever opens a new session is
judged as the policy says. What is never held: explicit facts, a login that is too old, a device that has not reported, and a
cut that has another cause besides. What was cut before the budget was used up stays cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import func, update
from sqlmodel import Session, col, select

from gateway.access import audit
from gateway.access.audit import GATEWAY, Event
from gateway.errors import Conflict, NotFound
from gateway.policy.model import Decision
from gateway.policy.plan import blamed, loses
from gateway.policy.policy import Policy
from gateway.policy.stage import Budget
from gateway.store import tables

PROCEEDED, PASSED, SUPERSEDED = "proceeded", "passed", "superseded"

log = structlog.get_logger()


def policy_cause(version: str) -> str:
    return f"policy:{version}"


def holding(
    db: Session, policy: Policy, budget: Budget | None, session: tables.Session, decision: Decision, *, now: datetime
) -> tables.Hold | None:
    """Give the hold that keeps this decision from a session. None: it takes effect, and is counted if it is a cut."""
    causes = _causes(policy, session, decision)
    if budget is None or not causes:
        return None
    holds = [_hold(db, budget, cause, now=now) for cause in causes]
    if all(holds):
        return holds[0]
    db.add_all(tables.Cut(at=now, session=session.id, cause=cause) for cause in causes)
    return None


def _causes(policy: Policy, session: tables.Session, decision: Decision) -> list[str]:
    """Name what would cut the session; nothing, if it is no cut or one that is never held."""
    if not loses(policy, session.tier, session.permits, decision):
        return []
    found = blamed(policy, session.tier, decision)
    if any(finding.explicit or finding.check not in policy.checks for finding in found):
        return []
    if session.policy_version != decision.policy_version:
        return [policy_cause(decision.policy_version)]
    return sorted({f"check:{finding.check}" for finding in found})


def _hold(db: Session, budget: Budget, cause: str, *, now: datetime) -> tables.Hold | None:
    """Give the open hold of the cause; open it when this cut would be one too many."""
    latest = db.exec(
        select(tables.Hold).where(tables.Hold.cause == cause).order_by(col(tables.Hold.number).desc())
    ).first()
    if latest is not None and latest.closed_at is None:
        return latest
    if latest is not None and latest.outcome == PROCEEDED and _still(latest, budget, now=now):
        return None
    recent = select(func.count()).select_from(tables.Cut)
    cuts = db.exec(recent.where(tables.Cut.cause == cause, col(tables.Cut.at) > now - budget.window)).one()
    alive = _alive(db) if cuts >= budget.floor else 0
    if budget.allows(cuts + 1, live=alive):
        return None
    return open_hold(db, cause, affected=cuts + 1, live=alive, now=now)


def _still(hold: tables.Hold, budget: Budget, *, now: datetime) -> bool:
    """An administrator's word holds for one policy for good, and for a check as long as its cuts are counted."""
    assert hold.closed_at is not None
    return hold.cause.startswith("policy:") or now - hold.closed_at < budget.window


def _alive(db: Session) -> int:
    rows = select(func.count()).select_from(tables.Session)
    return db.exec(rows.where(col(tables.Session.live_device).is_not(None))).one()


def open_hold(db: Session, cause: str, *, affected: int, live: int, now: datetime) -> tables.Hold:
    """Begin to hold a cause, and ask."""
    hold = tables.Hold(cause=cause, opened_at=now, affected=affected, live=live)
    db.add(hold)
    db.flush()
    told: dict[str, Any] = {"hold": hold.number, "cause": cause, "affected": affected, "live": live}
    audit.record(db, Event.BREAKER_OPENED, now=now, actor=GATEWAY, **told)
    log.error("breaker holds verdicts: an administrator must answer", **told)
    return hold


def let_go(db: Session, session: tables.Session, *, now: datetime) -> None:
    """The session is not held any more; a hold that holds nothing closes."""
    number, session.held_by = session.held_by, None
    db.flush()
    hold = db.get(tables.Hold, number)
    if hold is not None and hold.closed_at is None and not _held(db, hold):
        _close(db, hold, PASSED, by=GATEWAY, now=now)


def _held(db: Session, hold: tables.Hold) -> int:
    rows = select(func.count()).select_from(tables.Session)
    return db.exec(
        rows.where(tables.Session.held_by == hold.number, col(tables.Session.live_device).is_not(None))
    ).one()


def proceed(db: Session, number: int, *, by: str, now: datetime) -> int:
    """Let the verdicts that are held take effect. Says how many. Raises NotFound, or Conflict when it is closed."""
    hold = db.get(tables.Hold, number)
    if hold is None:
        raise NotFound("hold-unknown", "there is no such hold")
    if hold.closed_at is not None:
        raise Conflict("hold-closed", f"the hold is closed already: {hold.outcome} by {hold.closed_by}")
    count = _held(db, hold)
    _close(db, hold, PROCEEDED, by=by, now=now)
    return count


def supersede(db: Session, versions: Sequence[str], *, by: str, now: datetime) -> None:
    """Close the holds of policies that are in force no longer: their sessions are judged by another one."""
    causes = {policy_cause(version) for version in versions}
    for hold in pending(db):
        if hold.cause.startswith("policy:") and hold.cause not in causes:
            _close(db, hold, SUPERSEDED, by=by, now=now)


def pending(db: Session) -> Sequence[tables.Hold]:
    """List the open holds."""
    return db.exec(
        select(tables.Hold).where(col(tables.Hold.closed_at).is_(None)).order_by(col(tables.Hold.number))
    ).all()


def _close(db: Session, hold: tables.Hold, outcome: str, *, by: str, now: datetime) -> None:
    hold.closed_at, hold.closed_by, hold.outcome = now, by, outcome
    count = _held(db, hold)
    rows = tables.Session
    freed = update(rows).where(col(rows.held_by) == hold.number, col(rows.live_device).is_not(None))
    db.exec(freed.values(held_by=None, due_at=now))
    audit.record(
        db, Event.BREAKER_CLOSED, now=now, actor=by, hold=hold.number, cause=hold.cause, outcome=outcome, sessions=count
    )
    log.warning("breaker closed", hold=hold.number, cause=hold.cause, outcome=outcome, by=by, sessions=count)


def shown(db: Session, hold: tables.Hold) -> dict[str, object]:
    """Write a hold as JSON."""
    return {
        "hold": hold.number,
        "cause": hold.cause,
        "opened_at": hold.opened_at.timestamp(),
        "affected": hold.affected,
        "live": hold.live,
        "held": _held(db, hold),
    }
