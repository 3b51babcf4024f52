"""The history of decisions: written in the transaction that decides, read by explanations and replays.

A row is written when a session begins and whenever its facts or its verdict changed. Facts are kept as differences within
a session, so that a heartbeat costs nothing and a change costs what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from agent.wire import Fact
from gateway.policy import record
from gateway.policy.model import Decision, EvidenceGrade, Posture, Subject
from gateway.policy.question import Question, subject_from_json, subject_to_json
from gateway.policy.record import Recorded
from gateway.store import tables

FORGOTTEN_AT_ONCE = 200
"""Sessions whose rows are deleted in one transaction: no request waits long for the lock."""


def write(
    db: Session, session: tables.Session, asked: Question, decision: Decision, changed: Mapping[str, Any] | None
) -> None:
    """Keep the decision, and give the session its trace id. `changed` are the facts that differ from the row before."""
    digest = record.digest(decision)
    session.trace = record.trace(session.id, decision.evaluated_at, digest)
    posture = asked.posture
    db.add(
        tables.History(
            trace=session.trace,
            session=session.id,
            device=session.device,
            at=decision.evaluated_at,
            observed_at=posture.observed_at if posture else None,
            received_at=posture.received_at if posture else None,
            question=_members(asked, changed or {})
            | ({"held_by": session.held_by} if session.held_by is not None else {}),
            tier=session.tier,
            policy_version=decision.policy_version,
            digest=digest,
        )
    )


def _members(asked: Question, changed: Mapping[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = {"subject": subject_to_json(asked.subject)}
    if asked.answers:
        members["answers"] = {name: list(found) for name, found in asked.answers.items()}
    if changed:
        members["facts"] = dict(changed)
    if asked.failing_since:
        members["failing_since"] = {check: since.timestamp() for check, since in asked.failing_since.items()}
    if asked.posture is not None and asked.posture.grade is not EvidenceGrade.DEVICE_SIGNED:
        members["grade"] = asked.posture.grade.name
    if asked.posture is not None and asked.posture.grades:
        members["grades"] = {name: grade.name for name, grade in asked.posture.grades.items()}
    return members


def of_session(db: Session, session: str, *, until: datetime) -> Iterator[Recorded]:
    """List the decisions about a session up to an instant, oldest first. Raises ValueError when a row is no record."""
    rows = select(tables.History).where(tables.History.session == session, col(tables.History.at) <= until)
    return read(db.exec(rows.order_by(col(tables.History.sequence))).all())


def read(rows: Iterable[Any]) -> Iterator[Recorded]:
    """Put the facts together again. The rows of a session stand in their order, from its first; sessions may alternate."""
    sessions: dict[str, dict[str, Fact]] = {}
    said, subject = None, None
    for row in rows:
        members = row.question
        if subject is None or members["subject"] != said:  # most rows are about whom the row before was about
            said, subject = members["subject"], subject_from_json(members["subject"])
        facts = record.grown(sessions.get(row.session, {}), members.get("facts", {}))
        sessions[row.session] = facts
        asked = _question(row, members, subject, facts)
        yield Recorded(row.trace, row.session, asked, row.tier, row.policy_version, row.digest)


def _question(row: Any, members: dict[str, Any], subject: Subject, facts: dict[str, Fact]) -> Question:
    posture = None
    if row.received_at is not None:
        grade = EvidenceGrade[members["grade"]] if "grade" in members else EvidenceGrade.DEVICE_SIGNED
        grades = {name: EvidenceGrade[of] for name, of in members.get("grades", {}).items()}
        posture = Posture(facts, row.observed_at, row.received_at, grade, grades)
    since = {check: datetime.fromtimestamp(at, UTC) for check, at in members.get("failing_since", {}).items()}
    answers = {name: tuple(found) for name, found in members.get("answers", {}).items()}
    return Question(subject, posture, row.at, since, answers)


def forget(db: Session, *, older_than: timedelta, now: datetime) -> int:
    """Delete the rows of some sessions that ended so long ago, whole sessions at a time. Says of how many."""
    old = (
        select(tables.History.session)
        .join(tables.Session, col(tables.Session.id) == col(tables.History.session))
        .where(col(tables.Session.ended_at) < now - older_than)
        .distinct()
        .limit(FORGOTTEN_AT_ONCE)
    )
    names = db.exec(old).all()
    if names:
        db.exec(delete(tables.History).where(col(tables.History.session).in_(names)))
    db.exec(delete(tables.Cut).where(col(tables.Cut.at) < now - older_than))
    return len(names)
