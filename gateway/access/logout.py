"""Logout at the provider: what it ends here, once per token, and that nothing which began before it comes in after it.

A `sid` is over for good. A `sub` alone means every login of that user up to then, and the user may log in again. Accepted
logouts are remembered for as long as their token, or an ID token from before them, could still be presented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_
from sqlmodel import Session, col, select

from gateway.access import audit, sessions
from gateway.access.audit import Event
from gateway.access.sessions import EndReason
from gateway.errors import Malformed, Unauthenticated, Unavailable
from gateway.identity.kinds import PROVIDER_AGE
from gateway.identity.oidc import VerifiedLogin
from gateway.identity.verify import VerifiedLogout
from gateway.store import tables

RETENTION = PROVIDER_AGE + timedelta(minutes=1)
"""Counted from `iat`; must outlive the age at which a logout token or an ID token is accepted."""

MOST_LOGOUTS = 100_000
"""When so many are remembered, new ones are refused: forgetting one would let it be replayed."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a login is over: what the audit log says, and how its sessions end."""

    reason: str
    ending: EndReason
    actor: str


def accept(db: Session, logout: VerifiedLogout, *, now: datetime) -> list[str]:
    """End everything that lives by the login that is over. Gives the sessions that ended.

    Raises Malformed for a token that was used before or whose `sid` is another user's, Unavailable when too many came.
    """
    over = _spend(db, logout, now=now)
    _check_agreement(db, over)
    return end(db, over, Cause("back-channel logout", EndReason.LOGGED_OUT, logout.issuer), now=now)


def end(db: Session, over: tables.Logout, cause: Cause, *, now: datetime) -> list[str]:
    """End everything that lives by the login that is over. Gives the sessions that ended."""
    logins = _covered_logins(db, over, now=now)
    ended = end_logins(db, logins, cause, now=now, whole_user=over.sid is None)
    _drop_enrolments(db, over, cause, now=now)
    _drop_administrators(db, over, cause, now=now)
    return ended


def refuse_ended(db: Session, login: VerifiedLogin, *, now: datetime) -> None:
    """Raise Unauthenticated when the provider has told us meanwhile that this login is over."""
    rows = tables.Logout
    same = or_(col(rows.sid) == login.sid, col(rows.subject) == login.subject)
    kept = db.exec(select(rows).where(rows.issuer == login.issuer, same, col(rows.expires_at) > now)).all()
    if any(_covers(logout, login.subject, login.sid, login.issued_at) for logout in kept):
        raise Unauthenticated("login-ended", "the provider has ended this login already; log in again")


def _spend(db: Session, logout: VerifiedLogout, *, now: datetime) -> tables.Logout:
    rows = tables.Logout
    db.exec(delete(rows).where(col(rows.expires_at) <= now))
    if db.get(rows, (logout.issuer, logout.jti)) is not None:
        raise Malformed("logout-token-replayed", "this logout token has been used before")
    if db.exec(select(func.count()).select_from(rows)).one() >= MOST_LOGOUTS:
        raise Unavailable("busy", "too many logouts in the last minutes; send it again later")
    row = rows(
        issuer=logout.issuer,
        jti=logout.jti,
        subject=logout.subject,
        sid=logout.sid,
        issued_at=logout.issued_at,
        expires_at=logout.issued_at + RETENTION,
    )
    db.add(row)
    db.flush()
    return row


def _check_agreement(db: Session, logout: tables.Logout) -> None:
    """Back-Channel Logout 2.6: a `sid` that we know with another `sub` means that one of the two is wrong."""
    if logout.sid is None or logout.subject is None:
        return
    for rows in (tables.Login, tables.Administrator):
        named = (col(rows.issuer) == logout.issuer) & (col(rows.sid) == logout.sid)
        if db.exec(select(rows.subject).where(named, col(rows.subject) != logout.subject).limit(1)).first():
            raise Malformed("logout-token-session", "its sid is a session of another user than its sub")


def _covered_logins(db: Session, over: tables.Logout, *, now: datetime) -> Sequence[tables.Login]:
    rows = tables.Login
    usable = (col(rows.voided_at).is_(None), col(rows.expires_at) > now)
    return db.exec(select(rows).where(*_covered(rows, over), *usable)).all()


def end_logins(
    db: Session, logins: Sequence[tables.Login], cause: Cause, *, now: datetime, whole_user: bool = False
) -> list[str]:
    """End these logins and the sessions that live by them. Gives the sessions."""
    live = tables.Session
    for login in logins:
        login.voided_at = now
        _record(db, cause, login.user, login.device, now=now, whole_user=whole_user)
    named = col(live.login).in_([login.id for login in logins])
    alive: Sequence[tables.Session] = db.exec(select(live).where(col(live.live_device).is_not(None), named)).all()
    for session in alive:
        sessions.end(db, session, cause.ending, now=now, actor=cause.actor)
    return [session.id for session in alive]


def _drop_enrolments(db: Session, logout: tables.Logout, cause: Cause, *, now: datetime) -> None:
    """Forget a login that waits for its device to confirm it."""
    rows = tables.Enrolment
    bound = db.exec(select(rows).where(col(rows.code_digest).is_not(None), col(rows.confirmed_at).is_(None))).all()
    for row in bound:
        login = row.login or {}
        issued_at = datetime.fromtimestamp(login["issued_at"], UTC) if "issued_at" in login else None
        ours = login.get("issuer") == logout.issuer
        if ours and _covers(logout, login.get("subject"), login.get("sid"), issued_at):
            _record(db, cause, login["user"], row.device, now=now, whole_user=logout.sid is None)
            db.delete(row)


def _drop_administrators(db: Session, logout: tables.Logout, cause: Cause, *, now: datetime) -> None:
    rows = tables.Administrator
    for row in db.exec(select(rows).where(*_covered(rows, logout))).all():
        _record(db, cause, row.user, None, now=now, whole_user=logout.sid is None)
        db.delete(row)


def _covered(rows: type[tables.Login | tables.Administrator], logout: tables.Logout) -> tuple[ColumnElement[bool], ...]:
    """Say in SQL what `_covers` says."""
    ours: ColumnElement[bool] = col(rows.issuer) == logout.issuer
    user: tuple[ColumnElement[bool], ...] = () if logout.subject is None else (col(rows.subject) == logout.subject,)
    if logout.sid is not None:
        return (ours, *user, col(rows.sid) == logout.sid)
    return (ours, *user, or_(col(rows.issued_at).is_(None), col(rows.issued_at) <= logout.issued_at))


def _covers(logout: tables.Logout, subject: str | None, sid: str | None, issued_at: datetime | None) -> bool:
    """Say whether the logout, of the same issuer, is of this login. Both instants are by the provider's clock."""
    if logout.subject is not None and logout.subject != subject:
        return False
    if logout.sid is not None:
        return logout.sid == sid
    return issued_at is None or issued_at <= logout.issued_at


def _record(db: Session, cause: Cause, user: str, device: str | None, *, now: datetime, whole_user: bool) -> None:
    details: dict[str, Any] = {"user": user, "reason": cause.reason, "whole_user": whole_user}
    audit.record(db, Event.LOGIN_VOIDED, now=now, actor=cause.actor, device=device, **details)
