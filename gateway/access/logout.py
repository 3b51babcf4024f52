"""Logout at the provider: what it ends here, once per token, and that nothing which began before it comes in after it.

A `sid` is over for good. A `sub` alone means every login of that user up to then, and the user may log in again. Accepted
logouts are remembered for as long as their token, or an ID token from before them, could still be presented.
"""

from __future__ import annotations

from collections.abc import Sequence
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

REASON = "back-channel logout"


def accept(db: Session, logout: VerifiedLogout, *, now: datetime) -> list[str]:
    """End everything that lives by the login that is over. Gives the sessions that ended.

    Raises Malformed for a token that was used before or whose `sid` is another user's, Unavailable when too many came.
    """
    _spend(db, logout, now=now)
    _check_agreement(db, logout)
    ended = _void_logins(db, logout, now=now)
    _drop_enrolments(db, logout, now=now)
    _drop_administrators(db, logout, now=now)
    return ended


def refuse_ended(db: Session, login: VerifiedLogin, *, now: datetime) -> None:
    """Raise Unauthenticated when the provider has told us meanwhile that this login is over."""
    rows = tables.Logout
    same = or_(col(rows.sid) == login.sid, col(rows.subject) == login.subject)
    kept = db.exec(select(rows).where(rows.issuer == login.issuer, same, col(rows.expires_at) > now)).all()
    if any(_covers(logout, login.subject, login.sid, login.issued_at) for logout in kept):
        raise Unauthenticated("login-ended", "the provider has ended this login already; log in again")


def _spend(db: Session, logout: VerifiedLogout, *, now: datetime) -> None:
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


def _check_agreement(db: Session, logout: VerifiedLogout) -> None:
    """Back-Channel Logout 2.6: a `sid` that we know with another `sub` means that one of the two is wrong."""
    if logout.sid is None or logout.subject is None:
        return
    for rows in (tables.Login, tables.Administrator):
        named = (col(rows.issuer) == logout.issuer) & (col(rows.sid) == logout.sid)
        if db.exec(select(rows.subject).where(named, col(rows.subject) != logout.subject).limit(1)).first():
            raise Malformed("logout-token-session", "its sid is a session of another user than its sub")


def _void_logins(db: Session, logout: VerifiedLogout, *, now: datetime) -> list[str]:
    rows, live = tables.Login, tables.Session
    usable = (col(rows.voided_at).is_(None), col(rows.expires_at) > now)
    logins = db.exec(select(rows).where(*_covered(rows, logout), *usable)).all()
    for login in logins:
        login.voided_at = now
        _record(db, logout, login.user, login.device, now=now)
    named = col(live.login).in_([login.id for login in logins])
    alive: Sequence[tables.Session] = db.exec(select(live).where(col(live.live_device).is_not(None), named)).all()
    for session in alive:
        sessions.end(db, session, EndReason.LOGGED_OUT, now=now, actor=logout.issuer)
    return [session.id for session in alive]


def _drop_enrolments(db: Session, logout: VerifiedLogout, *, now: datetime) -> None:
    """Forget a login that waits for its device to confirm it."""
    rows = tables.Enrolment
    bound = db.exec(select(rows).where(col(rows.code_digest).is_not(None), col(rows.confirmed_at).is_(None))).all()
    for row in bound:
        login = row.login or {}
        issued_at = datetime.fromtimestamp(login["issued_at"], UTC) if "issued_at" in login else None
        ours = login.get("issuer") == logout.issuer
        if ours and _covers(logout, login.get("subject"), login.get("sid"), issued_at):
            _record(db, logout, login["user"], row.device, now=now)
            db.delete(row)


def _drop_administrators(db: Session, logout: VerifiedLogout, *, now: datetime) -> None:
    rows = tables.Administrator
    for row in db.exec(select(rows).where(*_covered(rows, logout))).all():
        _record(db, logout, row.user, None, now=now)
        db.delete(row)


def _covered(
    rows: type[tables.Login | tables.Administrator], logout: VerifiedLogout
) -> tuple[ColumnElement[bool], ...]:
    """Say in SQL what `_covers` says."""
    ours: ColumnElement[bool] = col(rows.issuer) == logout.issuer
    user: tuple[ColumnElement[bool], ...] = () if logout.subject is None else (col(rows.subject) == logout.subject,)
    if logout.sid is not None:
        return (ours, *user, col(rows.sid) == logout.sid)
    return (ours, *user, or_(col(rows.issued_at).is_(None), col(rows.issued_at) <= logout.issued_at))


def _covers(
    logout: VerifiedLogout | tables.Logout, subject: str | None, sid: str | None, issued_at: datetime | None
) -> bool:
    """Say whether the logout, of the same issuer, is of this login. Both instants are by the provider's clock."""
    if logout.subject is not None and logout.subject != subject:
        return False
    if logout.sid is not None:
        return logout.sid == sid
    return issued_at is None or issued_at <= logout.issued_at


def _record(db: Session, logout: VerifiedLogout, user: str, device: str | None, *, now: datetime) -> None:
    details: dict[str, Any] = {"user": user, "reason": REASON, "whole_user": logout.sid is None}
    audit.record(db, Event.LOGIN_VOIDED, now=now, actor=logout.issuer, device=device, **details)
