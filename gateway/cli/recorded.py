"""What `sallyport policy explain` tells about a device of the gateway: now, or at a time of the record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, col, or_, select

from gateway.access import history, names, policies, sessions
from gateway.cli import fleet
from gateway.errors import HostError, PolicyError, StoreError
from gateway.policy import record, story
from gateway.policy.policy import Policy
from gateway.policy.question import Question
from gateway.policy.story import Story
from gateway.store import tables
from gateway.store.engine import reading


@dataclass(frozen=True, slots=True)
class Told:
    """A story with the trace id of the recorded decision. `reproduced`: it came out as it did then; None: it is told as of now."""

    story: Story
    trace: str
    reproduced: bool | None


def told(*, user: str | None, device: str | None, trace: str | None, at: datetime | None) -> Told:
    """Tell the decision that is in force for a device, that was at a time, or that has this trace id. Raises GatewayError."""
    with fleet.database() as engine, reading(engine) as db:
        if trace is not None:
            return _past(db, *_by_trace(db, trace))
        assert user is not None
        assert device is not None
        session = _session(db, _device(db, user, device), user, at=at)
        return _present(db, session) if at is None else _past(db, session, at)


def _present(db: Session, session: tables.Session) -> Told:
    row = db.get(tables.Posture, session.device)
    now = datetime.now(UTC)
    posture, device = sessions.posture_of(session, row), db.get(tables.Device, session.device)
    copied_since = device.quarantined_at if device is not None else None
    asked = sessions.question(session, posture, row, copied_since=copied_since, now=now, answers=names.known(db))
    return Told(_story(_policy(db, session.policy_version), asked), session.trace, None)


def _past(db: Session, session: tables.Session, at: datetime) -> Told:
    found = list(history.of_session(db, session.id, until=at))
    if not found:
        raise HostError(f"nothing is recorded about session {session.id} until {at:%Y-%m-%dT%H:%M:%SZ}")
    last = found[-1]
    made = _story(_policy(db, last.policy_version), last.question)
    return Told(made, last.trace, record.digest(made.decision) == last.digest)


def _story(policy: Policy, asked: Question) -> Story:
    return story.told(
        policy,
        asked.subject,
        asked.posture,
        now=asked.at,
        failing_since=asked.failing_since,
        answers=asked.answers,
    )


def _policy(db: Session, version: str) -> Policy:
    try:
        policy = policies.kept(db, version)
    except PolicyError as error:
        raise StoreError(f"policy {version[:12]} was kept and cannot be loaded any more:\n{error}") from None
    if policy is None:
        raise StoreError(
            f"the texts of policy {version[:12]} are not in the database, so nothing it decided can be told"
        )
    return policy


def _by_trace(db: Session, trace: str) -> tuple[tables.Session, datetime]:
    row = db.exec(select(tables.History).where(tables.History.trace == trace)).first()
    session = db.get(tables.Session, row.session) if row is not None else None
    if row is None or session is None:
        raise HostError(f"no decision {trace} is recorded; it stands in the agent's status, the log and the audit")
    return session, row.at


def _device(db: Session, user: str, name: str) -> tables.Device:
    devices = tables.Device
    named = select(devices).where(or_(col(devices.id) == name, col(devices.name) == name))
    theirs = select(tables.Login.device).where(tables.Login.user == user)
    found = db.exec(named.where(col(devices.id).in_(theirs))).all()
    if len(found) != 1:
        names = db.exec(select(devices.name).where(col(devices.id).in_(theirs)).order_by(devices.name)).all()
        allowed = ", ".join(names) or "none"
        what = "is the name of several devices; use the id" if found else "is no device of theirs"
        raise HostError(f"{name!r} of {user!r} {what}; allowed are {allowed}")
    return found[0]


def _session(db: Session, device: tables.Device, user: str, *, at: datetime | None) -> tables.Session:
    rows = tables.Session
    wanted = select(rows).where(rows.device == device.id, rows.user == user)
    if at is None:
        wanted = wanted.where(col(rows.live_device).is_not(None))
    else:
        wanted = wanted.where(col(rows.started_at) <= at, or_(col(rows.ended_at).is_(None), col(rows.ended_at) > at))
    found = db.exec(wanted.order_by(col(rows.started_at).desc())).first()
    if found is None:
        latest = db.exec(select(rows).where(rows.device == device.id).order_by(col(rows.started_at).desc())).first()
        when = f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "now"
        raise HostError(f"{device.name} has no session {when}" + (f"; {_lasted(latest)}" if latest else ""))
    return found


def _lasted(session: tables.Session) -> str:
    until = f"to {session.ended_at:%Y-%m-%dT%H:%M:%SZ} ({session.end_reason})" if session.ended_at else "until now"
    return f"the latest was from {session.started_at:%Y-%m-%dT%H:%M:%SZ} {until}"
