"""Sessions: one live access grant per device, with a tier and a lease that only accepted reports renew.

Every function works inside the caller's write transaction and records what it did in the audit log. What the tunnel must
do about it follows from the rows (`reconcile`); nothing here talks to it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlmodel import Session, col, select

from agent import wire
from agent.wire import Fact
from gateway.access import attestation, audit, breaker, devices, history, names, signals, testimony, verdicts
from gateway.access.addresses import release
from gateway.access.audit import GATEWAY, Event
from gateway.access.identifiers import Entropy, is_identifier, new_identifier
from gateway.access.place import NOWHERE, Place
from gateway.access.ratchet import Turn
from gateway.errors import Conflict, NotFound, Unauthenticated
from gateway.identity.device import VerifiedDeviceClaims, VerifiedReport
from gateway.policy import evidence, record
from gateway.policy.document import NO_ANSWERS
from gateway.policy.model import Answers, Decision, Posture, Signal, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question
from gateway.policy.stage import Budget, InForce, ruling
from gateway.store import tables

log = structlog.get_logger()


class EndReason(enum.StrEnum):
    """Why a session is over."""

    REPLACED = "replaced"
    LEFT = "left"
    SILENT = "lease-ended"
    EXPIRED = "expired"
    IDLE = "idle"
    DENIED = "denied"
    KILLED = "killed"
    LOGGED_OUT = "logged-out"
    REVOKED = "revoked"
    DEVICE_REVOKED = "device-revoked"
    LOGIN_REFUSED = "login-refused"
    BROKEN = "record-broken"


NEVER = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
"""Of a session of before it was kept."""


def begin(
    db: Session,
    rules: Policy | InForce,
    opening: VerifiedDeviceClaims,
    *,
    now: datetime,
    entropy: Entropy,
    place: Place = NOWHERE,
) -> tuple[tables.Session, str]:
    """Open a session by the device's latest login; the session that it had ends. Gives it and the next nonce.

    The tier is that of a device that has not reported. Raises Unauthenticated `login-required` without a login, Forked when
    the device has a double, and Conflict `too-many-sessions` when the user has as many as the policy allows, elsewhere.
    """
    device = opening.device
    row = devices.approved(db, device)
    _, nonce = devices.take_turn(row, opening.claims.get("nonce"), said_at=opening.issued_at, entropy=entropy)
    login = _fresh_login(db, device, now=now)
    policy = ruling(rules).of(device, login.groups)
    before = live_session(db, device)
    if before is not None:
        end(db, before, EndReason.REPLACED, now=now)
        db.flush()  # `live_device` is UNIQUE: the old row lets go before the new one takes it
    said = signals.against(db, login)
    known = _failing_since(db.get(tables.Posture, device))
    subject = replace(_subject(login, device, said, place), copied_since=row.quarantined_at)
    _refuse_too_many(db, policy, subject)
    asked = Question(subject, None, now, known, _answers(db, policy))
    decision = asked.answered(policy)
    expires_at = _expires_at(policy, login, subject, now)
    session = tables.Session(
        id=new_identifier(entropy),
        device=device,
        live_device=device,
        login=login.id,
        user=login.user,
        groups=list(login.groups),
        started_at=now,
        expires_at=expires_at,
        active_at=now,
        lease_until=min(now + policy.session.lease, expires_at),
        authenticated_at=login.authenticated_at,
        acr=login.acr,
        signals=said,
        address=place.address,
        country=place.country,
        **verdicts.kept(decision, policy),
    )
    session.due_at = _due(session, policy)
    db.add(session)
    db.flush()  # its history refers to it
    history.write(db, session, asked, decision, None)
    told = {"device": device, "session": session.id, "tier": session.tier, "trace": session.trace}
    audit.record(db, Event.SESSION_BEGAN, now=now, actor=login.user, **told)
    return session, nonce


@dataclass(frozen=True, slots=True)
class Accepted:
    """A report that was accepted: its session, which has ended if it is denied, the nonce for what the device signs next,
    and whether the tunnel and the event stream have to be told at once."""

    session: tables.Session
    nonce: str
    changed: bool


def report(
    db: Session,
    rules: Policy | InForce,
    device: str,
    report: VerifiedReport,
    *,
    now: datetime,
    entropy: Entropy,
    place: Place = NOWHERE,
    seen: Mapping[str, Fact] | None = None,
) -> Accepted:
    """Judge a report and renew the lease. `seen` is what the tunnel has seen of the device, under its names.

    Raises Conflict when it does not come in turn or names facts that this session has not sent, and Forked when the
    device has a double.
    """
    said = report.report
    row, session = devices.enrolled(db, device), _of(db, said.session, device)
    watched = row.nonce is not None and row.quarantined_at is None
    turn, nonce = devices.take_turn(row, said.nonce, said_at=report.issued_at, entropy=entropy)
    known = _reach(_living(session, now=now))
    expected = session.sequence if turn is Turn.AGAIN else session.sequence + 1
    if watched and said.sequence != expected:
        raise Conflict("report-out-of-order", f"the next report has the sequence {expected}, not {said.sequence}")
    facts = said.facts if said.unchanged is None else _unchanged(db, session, said.unchanged)
    policy = ruling(rules).of(device, session.groups)
    session.sequence = expected
    session.lease_until = min(now + policy.session.lease, session.expires_at)
    session.address, session.country = place.address, place.country
    issued_at = datetime.fromtimestamp(said.issued_at, UTC)
    told = {**testimony.told(db, device, now=now), **(seen or {}), **attestation.told(row, said)}
    posture = _posture(evidence.assembled(facts, told, issued_at=issued_at, received_at=now), issued_at, now)
    changed = _keep_posture(db, session, posture)
    judge(db, rules, session, posture, now=now, changed=changed)
    return Accepted(session, nonce, session.ended_at is not None or _reach(session) != known)


def _reach(session: tables.Session) -> tuple[Any, ...]:
    return session.permits, session.rate, session.tier, session.findings, session.resources


def hear(db: Session, rules: Policy | InForce, session: tables.Session, *, now: datetime) -> bool:
    """Judge a live session by what others tell about its device now. Says whether the verdict has changed."""
    posture = latest_posture(db, session)
    if posture is None:
        return False
    seen = {name: fact for name, fact in posture.facts.items() if name.startswith("seen.")}
    told = {**testimony.told(db, session.device, now=now), **seen}
    times = posture.observed_at, posture.received_at
    facts = evidence.assembled(posture.facts, told, issued_at=times[0], received_at=times[1])
    heard = _posture(facts, *times)
    return judge(db, rules, session, heard, now=now, changed=_keep_posture(db, session, heard))


def _posture(facts: Mapping[str, Fact], observed_at: datetime, received_at: datetime) -> Posture:
    return Posture(facts, observed_at, received_at, grades=evidence.grades(facts))


def renew(db: Session, rules: Policy | InForce, login: tables.Login, *, now: datetime) -> tables.Session | None:
    """Have the live session of the login's device go on by this login, in its tunnel. None: the device has no session."""
    session = live_session(db, login.device)
    if session is None:
        return None
    session.login, session.user = login.id, login.user
    policy = ruling(rules).of(session.device, login.groups)
    subject = _subject(login, session.device, (), Place(session.address, session.country))
    session.expires_at = _expires_at(policy, login, subject, session.started_at)
    audit.record(
        db, Event.SESSION_RENEWED, now=now, actor=login.user, device=login.device, session=session.id, acr=login.acr
    )
    rejudge(db, rules, session, login, now=now)
    return session


def rejudge(
    db: Session, rules: Policy | InForce, session: tables.Session, login: tables.Login, *, now: datetime
) -> bool:
    """Decide again, by what is known of the login now. Says whether the verdict has changed.

    A row that does not hold what it should is worth no access.
    """
    session.groups, session.authenticated_at, session.acr = list(login.groups), login.authenticated_at, login.acr
    session.signals = signals.against(db, login)
    try:
        return judge(db, rules, session, latest_posture(db, session), now=now)
    except (ValueError, TypeError, KeyError, AttributeError):
        end(db, session, EndReason.BROKEN, now=now)
        return True


def judge(
    db: Session,
    rules: Policy | InForce,
    session: tables.Session,
    posture: Posture | None,
    *,
    now: datetime,
    changed: tables.Members | None = None,
) -> bool:
    """Decide again about a live session. Says whether the verdict has changed; a denied session ends.

    `changed` are the facts that are news since the last decision.
    """
    policy = ruling(rules).of(session.device, session.groups)
    before = _told(session)
    failing = _failing(session.findings)
    _judge(db, policy, ruling(rules).budget, session, posture, now=now, changed=changed or {})
    if session.tier != before[0] or _failing(session.findings) != failing:
        _record_change(db, policy, session, before[0], now=now)
    if session.tier == policy.denied:
        end(db, session, EndReason.DENIED, now=now)
    return before != _told(session)


def end(db: Session, session: tables.Session, reason: EndReason, *, now: datetime, actor: str = GATEWAY) -> None:
    """End a live session: its tunnel key never works again, its address rests."""
    session.ended_at, session.end_reason = now, reason.value
    session.live_device, session.due_at = None, None
    peer = live_peer(db, session.id)
    if peer is not None:
        peer.live_session = None
    release(db, session, now=now)
    event = Event.SESSION_KILLED if reason is EndReason.KILLED else Event.SESSION_ENDED
    audit.record(db, event, now=now, actor=actor, device=session.device, session=session.id, reason=reason.value)


def kill(db: Session, session: str, *, by: str, reason: str, now: datetime) -> tables.Session:
    """End for good what an administrator points at: the session, its device's login, and whatever replaced it meanwhile.

    Killing what is killed already changes nothing. Raises NotFound.
    """
    found = _find(db, session)
    if db.get(tables.Kill, found.id) is not None:
        return found
    db.add(tables.Kill(session=found.id, killed_at=now, killed_by=by, reason=reason))
    for login in holding_logins(db, found.device):
        login.voided_at = now
    alive = live_session(db, found.device)
    if alive is not None:
        end(db, alive, EndReason.KILLED, now=now, actor=by)
    audit.record(db, Event.LOGIN_VOIDED, now=now, actor=by, device=found.device, session=found.id, reason=reason)
    return found


def own(db: Session, session: str, device: str, *, now: datetime) -> tables.Session:
    """Give the live session of this device by its name. Raises NotFound, or Conflict `session-ended` with the reason."""
    return _living(_of(db, session, device), now=now)


def _of(db: Session, session: str, device: str) -> tables.Session:
    found = _find(db, session)
    if found.device != device:
        raise NotFound("session-unknown", "there is no such session of this device")
    return found


def _living(found: tables.Session, *, now: datetime) -> tables.Session:
    if found.ended_at is not None or found.lease_until <= now or found.expires_at <= now:
        why = found.end_reason or EndReason.SILENT.value
        raise Conflict("session-ended", f"the session has ended ({why}); open a new one", reason=why)
    return found


def live_session(db: Session, device: str) -> tables.Session | None:
    return db.exec(select(tables.Session).where(tables.Session.live_device == device)).one_or_none()


def of_same_device(db: Session, session: str) -> list[tables.Session]:
    """List the live session of the device that `session` is of. Raises NotFound."""
    alive = live_session(db, _find(db, session).device)
    return [alive] if alive else []


def live_peer(db: Session, session: str) -> tables.Peer | None:
    return db.exec(select(tables.Peer).where(tables.Peer.live_session == session)).one_or_none()


def latest_posture(db: Session, session: tables.Session) -> Posture | None:
    """Give the posture that this session has reported. Raises ValueError when the row does not hold facts."""
    return posture_of(session, db.get(tables.Posture, session.device))


def posture_of(session: tables.Session, row: tables.Posture | None) -> Posture | None:
    """Read the posture row of the session's device. None: this session has not reported. Raises ValueError as above."""
    if row is None or row.session != session.id:
        return None
    facts = {name: Fact.from_json(members) for name, members in row.facts.items()}
    return _posture(facts, row.observed_at, row.received_at)


def question(
    session: tables.Session,
    posture: Posture | None,
    row: tables.Posture | None,
    *,
    copied_since: datetime | None,
    now: datetime,
    answers: Answers = NO_ANSWERS,
) -> Question:
    """Put together what is decided about a live session: by `judge`, and by whoever wants to know what it would decide.

    `answers` are those of `names.known`.
    """
    place = Place(session.address, session.country)
    subject = replace(_subject(session, session.device, session.signals, place), copied_since=copied_since)
    return Question(subject, posture, now, _failing_since(row), answers)


def _subject(login: tables.Login | tables.Session, device: str, standing: Sequence[str], place: Place) -> Subject:
    """Whom a decision is about. A login whose instant is not known is as old as can be."""
    return Subject(
        login.user,
        frozenset(login.groups),
        device,
        address=place.address,
        country=place.country,
        authenticated_at=login.authenticated_at or NEVER,
        acr=login.acr,
        signals=frozenset(Signal(name) for name in standing),
    )


def _answers(db: Session, policy: Policy) -> Answers:
    return names.known(db) if policy.names() else NO_ANSWERS


def _refuse_too_many(db: Session, policy: Policy, subject: Subject) -> None:
    limit = policy.sessions(subject)
    if limit is None:
        return
    rows = tables.Session
    mine = (rows.user == subject.user, rows.device != subject.device, col(rows.live_device).is_not(None))
    others = len(db.exec(select(rows.id).where(*mine).limit(limit)).all())
    if others >= limit:
        raise Conflict(
            "too-many-sessions",
            f"{subject.user} has {others} session{'s' if others > 1 else ''} on other devices, and the policy allows {limit}; "
            "leave one, or wait until its lease ends",
        )


def _expires_at(policy: Policy, login: tables.Login, subject: Subject, started_at: datetime) -> datetime:
    """The end of a session: that of its login, unless the policy names a tier for what is left then."""
    longest = started_at + policy.max_duration(subject)
    return longest if policy.session.without_login else min(longest, login.expires_at)


def _told(session: tables.Session) -> tuple[Any, ...]:
    """What the tunnel, the agent and the clock have to know of a verdict."""
    reach = (session.resources, session.permits, session.routes, session.rate)
    return session.tier, session.findings, *reach, session.valid_until, session.step_up


def _find(db: Session, session: str) -> tables.Session:
    found = db.get(tables.Session, session) if is_identifier(session) else None
    if found is None:
        raise NotFound("session-unknown", "there is no such session")
    return found


def _fresh_login(db: Session, device: str, *, now: datetime) -> tables.Login:
    usable = [login for login in holding_logins(db, device) if login.expires_at > now]
    if not usable:
        raise Unauthenticated("login-required", "this device has no fresh login; run sallyport-agent login")
    return max(usable, key=lambda login: login.authenticated_at)


def holding_logins(db: Session, device: str) -> list[tables.Login]:
    """List the logins of a device that nobody has ended."""
    rows = select(tables.Login).where(tables.Login.device == device, col(tables.Login.voided_at).is_(None))
    return list(db.exec(rows).all())


def _judge(
    db: Session,
    policy: Policy,
    budget: Budget | None,
    session: tables.Session,
    posture: Posture | None,
    *,
    now: datetime,
    changed: tables.Members,
) -> None:
    row = db.get(tables.Posture, session.device)
    device = db.get(tables.Device, session.device)
    copied_since = device.quarantined_at if device else None
    asked = question(session, posture, row, copied_since=copied_since, now=now, answers=_answers(db, policy))
    decision = asked.answered(policy)
    before = (*verdicts.seen(session), session.held_by)
    hold = breaker.holding(db, policy, budget, session, decision, now=now)
    if hold is not None:
        _keep_from(db, session, decision, hold, now=now)
    else:
        if session.held_by is not None:
            breaker.let_go(db, session, now=now)
        session.sqlmodel_update(verdicts.kept(decision, policy))
    if record.worth_a_row(changed) or (*verdicts.seen(session), session.held_by) != before:
        known = row.facts if row is not None and posture is not None else {}
        history.write(db, session, asked, decision, {**record.volatile(known), **changed})
    session.due_at = _due(session, policy)
    if row is not None:
        row.failing_since = {check: since.timestamp() for check, since in decision.failing_since.items()}


def _keep_from(db: Session, session: tables.Session, decision: Decision, hold: tables.Hold, *, now: datetime) -> None:
    """Leave the session its verdict, until the breaker lets go or time could change the decision."""
    if session.held_by != hold.number:
        session.held_by = hold.number
        who = {"device": session.device, "session": session.id}
        told = {"hold": hold.number, "cause": hold.cause, "tier": session.tier, "instead": decision.tier}
        audit.record(db, Event.SESSION_HELD, now=now, actor=GATEWAY, **who, **told)  # type: ignore[arg-type]
    session.valid_until = decision.valid_until


def _failing_since(row: tables.Posture | None) -> dict[str, datetime]:
    return {check: datetime.fromtimestamp(at, UTC) for check, at in (row.failing_since if row else {}).items()}


def _due(session: tables.Session, policy: Policy) -> datetime:
    """The first instant at which time alone changes something about the session."""
    limit = policy.idle(Subject(session.user, frozenset(session.groups), session.device))
    instants = [session.lease_until, session.expires_at, session.active_at + limit]
    return min([*instants, session.valid_until] if session.valid_until else instants)


def _unchanged(db: Session, session: tables.Session, digest: str) -> dict[str, Fact]:
    """The facts that a heartbeat means: those of this session's report before, and no others."""
    row = db.get(tables.Posture, session.device)
    own = {name: fact for name, fact in row.facts.items() if not evidence.is_others(name)} if row is not None else {}
    if row is None or row.session != session.id or wire.digest(own) != digest:
        raise Conflict(
            "facts-unknown",
            "send the facts themselves: those that were named are not the ones before",
        )
    return {name: Fact.from_json(fact) for name, fact in own.items()}


def _keep_posture(db: Session, session: tables.Session, posture: Posture) -> tables.Members:
    """Keep the report. Gives the facts that are news to this session."""
    said: dict[str, Any] = {
        "session": session.id,
        "facts": {name: fact.to_json() for name, fact in posture.facts.items()},
        "observed_at": posture.observed_at,
        "received_at": posture.received_at,
    }
    row = db.get(tables.Posture, session.device)
    changed = record.news(row.facts if row and row.session == session.id else {}, said["facts"])
    db.add(row.sqlmodel_update(said) if row else tables.Posture(device=session.device, **said))
    db.flush()
    return changed


def _record_change(db: Session, policy: Policy, session: tables.Session, tier: str, *, now: datetime) -> None:
    worse = policy.tiers.index(session.tier) - (policy.tiers.index(tier) if tier in policy.tiers else 0)
    event = Event.SESSION_DOWNGRADED if worse > 0 else Event.SESSION_RESTORED if worse < 0 else Event.SESSION_FINDINGS
    audit.record(
        db,
        event,
        now=now,
        actor=GATEWAY,
        device=session.device,
        session=session.id,
        tier=session.tier,
        before=tier,
        findings=[{k: f[k] for k in ("check", "reason", "effective")} for f in session.findings],
        policy=session.policy_version,
        trace=session.trace,
    )
    log.info("verdict changed", session=session.id, before=tier, tier=session.tier, trace=session.trace)


def _failing(findings: list[tables.Members]) -> set[tuple[str, bool]]:
    return {(finding["check"], finding["effective"]) for finding in findings}
