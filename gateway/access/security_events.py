"""What a security event does to live sessions. Everything happens in the caller's transaction, once for each event.

    session-revoked, account-disabled,   the logins that it is about are over, and whatever lives by them ends
    account-purged
    token-claims-change                  the groups of the login are the new ones, and its sessions are judged again
    device-compliance-change,            held against the user or the device: the policy says which tier is left, until
    risk-level-change                    another event takes it back
    credential-change,                   likewise, until a login that is younger
    assurance-level-change

A transmitter that says less than it could is believed in full: an event about a user without a device is about all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_
from sqlmodel import Session, col, select

from gateway.access import audit, logout, sessions, signals
from gateway.access.audit import Event
from gateway.access.logout import Cause, end_logins
from gateway.access.sessions import EndReason
from gateway.errors import Malformed, Unauthenticated, Unavailable
from gateway.identity import claims
from gateway.identity.kinds import SET_AGE
from gateway.identity.security_event import EventSubject, Kind, SecurityEvent
from gateway.policy.model import Signal
from gateway.policy.policy import Policy
from gateway.policy.stage import InForce
from gateway.store import tables

RETENTION = SET_AGE + timedelta(minutes=1)
"""Must outlive the age at which a token is accepted, or it could be replayed."""

MOST_EVENTS = 1_000_000
"""When so many are remembered, new ones are refused: forgetting one would let it be replayed."""


@dataclass(frozen=True, slots=True)
class GroupsAt:
    """Where a provider names the groups of a user, and what is put before each."""

    claim: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a value of an event means: a signal that is raised, and those that are taken back."""

    raised: Signal | None = None
    lowered: tuple[Signal, ...] = ()


CHANGED = Said(Signal.CREDENTIAL_CHANGE)
SIGNALS: Mapping[Kind, tuple[str, Mapping[str, Said]]] = {
    Kind.COMPLIANCE_CHANGE: (
        "current_status",
        {"compliant": Said(lowered=(Signal.NOT_COMPLIANT,)), "not-compliant": Said(Signal.NOT_COMPLIANT)},
    ),
    Kind.RISK_CHANGE: (
        "current_level",
        {
            "LOW": Said(lowered=(Signal.MEDIUM_RISK, Signal.HIGH_RISK)),
            "MEDIUM": Said(Signal.MEDIUM_RISK, (Signal.HIGH_RISK,)),
            "HIGH": Said(Signal.HIGH_RISK, (Signal.MEDIUM_RISK,)),
        },
    ),
    Kind.ASSURANCE_CHANGE: (
        "change_direction",
        {"increase": Said(lowered=(Signal.LOWER_ASSURANCE,)), "decrease": Said(Signal.LOWER_ASSURANCE)},
    ),
    Kind.CREDENTIAL_CHANGE: ("change_type", {"revoke": CHANGED, "update": CHANGED, "delete": CHANGED}),
}
"""By kind of event: the member that counts, and what its values mean. What is missing here means nothing: a credential
that is added takes nothing away from those that were used."""

ENDING = (Kind.SESSION_REVOKED, Kind.ACCOUNT_DISABLED, Kind.ACCOUNT_PURGED)


def accept(
    db: Session,
    policy: Policy | InForce,
    event: SecurityEvent,
    *,
    groups: Callable[[str], GroupsAt | None],
    now: datetime,
) -> list[str]:
    """Do what the event asks for. Gives the sessions that changed; none when it was accepted before (RFC 8935 section 2)."""
    if not _spend(db, event, now=now):
        return []
    logins = _logins(db, event.subject, now=now)
    changed = _effect(db, policy, event, logins, groups, now=now)
    _record(db, event, logins, changed, now=now)
    return changed


def _effect(
    db: Session,
    policy: Policy | InForce,
    event: SecurityEvent,
    logins: Sequence[tables.Login],
    groups: Callable[[str], GroupsAt | None],
    *,
    now: datetime,
) -> list[str]:
    if event.kind is None or event.subject.empty:
        return []
    if event.kind in ENDING:
        return _end(db, event, logins, now=now)
    if event.kind is Kind.CLAIMS_CHANGE:
        _regroup(logins, event.members["claims"], groups)
        return _judge_again(db, policy, {(login.issuer, login.subject) for login in logins}, now=now)
    users = _users(db, event.subject, logins)
    for issuer, subject in users:
        _signal(db, event, issuer, subject)
    return _judge_again(db, policy, users, now=now)


def _signal(db: Session, event: SecurityEvent, issuer: str, subject: str) -> None:
    assert event.kind is not None
    member, values = SIGNALS[event.kind]
    said = values.get(event.members[member])
    if said is None:
        return
    device = event.subject.device or ""
    for signal in said.lowered:
        signals.lower(db, issuer, subject, device, signal, at=event.at)
    if said.raised is not None:
        signals.raise_(db, issuer, subject, device, said.raised, at=event.at)


def _end(db: Session, event: SecurityEvent, logins: Sequence[tables.Login], *, now: datetime) -> list[str]:
    assert event.kind is not None
    cause = Cause(event.kind.value, EndReason.REVOKED, event.issuer)
    if event.subject.device is not None:
        before = [login for login in logins if login.issued_at is None or login.issued_at <= event.at]
        return end_logins(db, before, cause, now=now)
    ended: list[str] = []
    for number, (issuer, subject) in enumerate(sorted(_users(db, event.subject, logins))):
        over = tables.Logout(
            issuer=issuer,
            jti=f"{event.jti} {number} of {event.issuer}",
            subject=subject,
            sid=event.subject.sid,
            issued_at=event.at,
            expires_at=now + logout.RETENTION,
        )
        db.add(over)  # kept: a login that is on its way must not come in after it
        ended += logout.end(db, over, cause, now=now)
    return ended


def _users(db: Session, about: EventSubject, logins: Sequence[tables.Login]) -> set[tuple[str, str]]:
    """Name by issuer and subject whom an event is about, the administrators among them."""
    users = {(login.issuer, login.subject) for login in logins}
    rows = tables.Administrator
    fits = [
        column == value
        for column, value in ((col(rows.user), about.name), (col(rows.sid), about.sid))
        if value is not None
    ]
    if fits:
        users |= {(row.issuer, row.subject) for row in db.exec(select(rows).where(*fits)).all()}
    if about.issuer is not None and about.subject is not None:
        users.add((about.issuer, about.subject))
    elif about.device is not None and (device := db.get(tables.Device, about.device)) is not None:
        users.add((device.issuer, device.subject))
    return users


def _regroup(logins: Sequence[tables.Login], said: Mapping[str, Any], groups: Callable[[str], GroupsAt | None]) -> None:
    """Each provider's groups have its own prefix: an event must not give what a login there could not."""
    for login in logins:
        at = groups(login.issuer)
        if at is None or not claims.names_groups(said, at.claim):
            continue
        try:
            login.groups = [f"{at.prefix}{group}" for group in claims.groups(said, at.claim)]
        except Unauthenticated as error:
            raise Malformed("set-events", str(error)) from None


def _judge_again(
    db: Session, policy: Policy | InForce, users: Iterable[tuple[str, str]], *, now: datetime
) -> list[str]:
    changed = []
    for issuer, subject in users:
        for session, login in _live(db, issuer, subject):
            reach = (session.permits, session.rate)
            told = sessions.rejudge(db, policy, session, login, now=now)
            if told or session.ended_at is not None or reach != (session.permits, session.rate):
                changed.append(session.id)
    return changed


def _live(db: Session, issuer: str, subject: str) -> Sequence[tuple[tables.Session, tables.Login]]:
    rows, logins = tables.Session, tables.Login
    theirs = (logins.issuer == issuer, logins.subject == subject, col(rows.live_device).is_not(None))
    found = select(rows, logins).join(logins, col(logins.id) == col(rows.login)).where(*theirs)
    return db.exec(found).all()


def _logins(db: Session, about: EventSubject, *, now: datetime) -> Sequence[tables.Login]:
    """Find the logins that still hold and that the event is about: all that it says must fit."""
    if about.empty:
        return []
    rows = tables.Login
    fits = [
        column == value
        for column, value in (
            (col(rows.issuer), about.issuer),
            (col(rows.subject), about.subject),
            (col(rows.sid), about.sid),
            (col(rows.device), about.device),
        )
        if value is not None
    ]
    if about.name is not None:
        fits.append(or_(col(rows.user) == about.name, col(rows.email) == about.name))
    holding = (col(rows.voided_at).is_(None), col(rows.expires_at) > now)
    return db.exec(select(rows).where(*holding, *fits)).all()


def _spend(db: Session, event: SecurityEvent, *, now: datetime) -> bool:
    rows = tables.SeenEvent
    db.exec(delete(rows).where(col(rows.expires_at) <= now))
    if db.get(rows, (event.issuer, event.jti)) is not None:
        return False
    if db.exec(select(func.count()).select_from(rows)).one() >= MOST_EVENTS:
        raise Unavailable("busy", "too many events in the last day; send it again later")
    db.add(rows(issuer=event.issuer, jti=event.jti, expires_at=now + RETENTION))
    db.flush()
    return True


def _record(
    db: Session, event: SecurityEvent, logins: Sequence[tables.Login], changed: Sequence[str], *, now: datetime
) -> None:
    about = {
        name: value
        for name in ("issuer", "subject", "name", "sid", "device")
        if (value := getattr(event.subject, name)) is not None
    }
    audit.record(
        db,
        Event.SECURITY_EVENT,
        now=now,
        actor=event.issuer,
        kind=event.kind.value if event.kind else event.type,
        about=about,
        users=sorted({login.user for login in logins}),
        sessions=list(changed),
        said=_shown(event.members),
    )


def _shown(members: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a stranger's members what is a short text or a number."""
    return {
        str(name)[:64]: value if isinstance(value, int | float | bool) else str(value)[:200]
        for name, value in list(members.items())[:16]
        if isinstance(value, str | int | float | bool)
    }
