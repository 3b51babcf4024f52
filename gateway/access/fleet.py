"""The fleet: every live session with what a decision about it is made of, as a stream, for plans and snapshots.

One read transaction sees one state of the database. Rows are read in portions and let go, so that memory does not grow
with the fleet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlmodel import Session, col, select

from gateway.access import names, sessions
from gateway.access.reevaluation import ended_by_time
from gateway.policy.document import NO_ANSWERS
from gateway.policy.model import Answers
from gateway.policy.plan import Live
from gateway.policy.question import Question
from gateway.store import tables

PORTION = 500


def live(db: Session, *, now: datetime) -> Iterator[Live]:
    """Stream the live sessions as they stand, in the order of their names, with the question that `judge` would ask now."""
    rows = (
        select(tables.Session, tables.Posture, tables.Device)
        .join(tables.Device, col(tables.Device.id) == col(tables.Session.device))
        .outerjoin(tables.Posture, col(tables.Posture.device) == col(tables.Session.device))
        .where(col(tables.Session.live_device).is_not(None))
        .order_by(col(tables.Session.id))
        .execution_options(yield_per=PORTION)
    )
    answers = names.known(db)
    for session, posture, device in db.exec(rows):
        yield standing(session, posture, device, now=now, answers=answers)


def standing(
    session: tables.Session,
    posture: tables.Posture | None,
    device: tables.Device,
    *,
    now: datetime,
    answers: Answers = NO_ANSWERS,
) -> Live:
    """Say how one session stands."""
    return Live(
        session=session.id,
        user=session.user,
        device=session.device,
        device_name=device.name,
        tier=session.tier,
        resources=tuple(resource["name"] for resource in session.resources),
        permits=tuple(session.permits),
        findings=frozenset((finding["check"], finding["effective"]) for finding in session.findings),
        rate=session.rate,
        active_at=session.active_at,
        question=_question(session, posture, device, now=now, answers=answers),
        over=ended_by_time(session, now=now),
    )


def _question(
    session: tables.Session, row: tables.Posture | None, device: tables.Device, *, now: datetime, answers: Answers
) -> Question | None:
    try:
        posture = sessions.posture_of(session, row)
        return sessions.question(session, posture, row, copied_since=device.quarantined_at, now=now, answers=answers)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # `reevaluation.reevaluate` ends such a session
