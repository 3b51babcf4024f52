"""Checks of logins at their provider while sessions live by them: a user who is disabled there is cut off here.

Which logins are due stands in `check_at`. Whoever asks first moves it on, so that no refresh token is used twice at once,
and an answer that never comes is asked for again: while a provider is away, its users stay until their login ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from gateway.access import audit, logout, sessions
from gateway.access.audit import Event
from gateway.access.logout import Cause
from gateway.access.sessions import EndReason
from gateway.policy.stage import InForce
from gateway.store import tables

RETRY = timedelta(minutes=1)
"""When a provider that did not answer is asked again."""

BATCH = 20
"""Logins that are checked in one turn: a provider that hangs holds up no more than these."""


@dataclass(frozen=True, slots=True)
class DueCheck:
    """A login that is ours to check now, with its sealed refresh token."""

    login: str
    provider: str
    subject: str
    refresh_token: str


def claim(db: Session, *, now: datetime) -> list[DueCheck]:
    """Take the logins that are due, at most BATCH. Nobody else takes them until RETRY has passed."""
    rows = tables.Login
    holding = (col(rows.voided_at).is_(None), col(rows.expires_at) > now, col(rows.refresh_token).is_not(None))
    due = select(rows).where(*holding, col(rows.check_at) <= now).order_by(col(rows.check_at)).limit(BATCH)
    return [
        DueCheck(login.id, login.provider, login.subject, str(login.refresh_token))
        for login in db.exec(due).all()
        if _moved(db, login, now + RETRY)
    ]


def confirmed(
    db: Session,
    rules: InForce,
    login: str,
    *,
    groups: Sequence[str] | None,
    refresh_token: str | None,
    now: datetime,
) -> list[str]:
    """The provider stands by the login. `groups` None: it said nothing of them. Gives the sessions that changed."""
    row = db.get(tables.Login, login)
    if row is None or row.voided_at is not None:
        return []
    check = rules.of(row.device, row.groups).session.check_login
    row.check_at = now + check if check is not None else None
    row.refresh_token = refresh_token or row.refresh_token
    if groups is None or sorted(row.groups) == sorted(groups):
        return []
    audit.record(db, Event.LOGIN_CHECKED, now=now, actor=row.issuer, device=row.device, user=row.user, groups=[*groups])
    row.groups = list(groups)
    session = sessions.live_session(db, row.device)
    if session is None or session.login != row.id:
        return []
    sessions.rejudge(db, rules, session, row, now=now)
    return [session.id]


def refused(db: Session, login: str, why: str, *, now: datetime) -> list[str]:
    """The provider does not stand by the login: it is over. Gives the sessions that ended."""
    row = db.get(tables.Login, login)
    if row is None or row.voided_at is not None:
        return []
    return logout.end_logins(db, [row], Cause(why, EndReason.LOGIN_REFUSED, row.issuer), now=now)


def _moved(db: Session, login: tables.Login, to: datetime) -> bool:
    """Compare and set: of two who look at the same row, one moves it."""
    rows = tables.Login
    same = (col(rows.id) == login.id, col(rows.check_at) == login.check_at)
    return db.connection().execute(update(rows).where(*same).values(check_at=to)).rowcount == 1
