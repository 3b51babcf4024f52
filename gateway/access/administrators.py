"""Administrators: who may look at all sessions and kill them. A browser session by an opaque cookie."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import Session, col

from gateway.access import audit, logout
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest, new_secret
from gateway.errors import Forbidden, Unauthenticated
from gateway.identity.oidc import VerifiedLogin
from gateway.store import tables

LIFETIME = timedelta(hours=8)
"""A working day; then the provider is asked again."""


def begin(db: Session, login: VerifiedLogin, group: str, *, now: datetime, entropy: Entropy) -> str:
    """Open a browser session for a member of `group`. Gives the cookie. Raises Forbidden for anybody else, and Unauthenticated
    for a login that the provider has ended since."""
    if group not in login.groups:
        raise Forbidden("not-an-administrator", f"{login.user} is not in the group {group}")
    logout.refuse_ended(db, login, now=now)
    db.exec(delete(tables.Administrator).where(col(tables.Administrator.expires_at) <= now))
    cookie = new_secret(entropy)
    row = tables.Administrator(
        cookie_digest=digest(cookie),
        issuer=login.issuer,
        subject=login.subject,
        user=login.user,
        sid=login.sid,
        provider=login.provider,
        id_token=login.id_token,
        issued_at=login.issued_at,
        started_at=now,
        expires_at=now + LIFETIME,
    )
    db.add(row)
    audit.record(db, Event.ADMINISTRATOR_LOGGED_IN, now=now, actor=login.user, issuer=login.issuer)
    return cookie


def by_cookie(db: Session, cookie: str | None, *, now: datetime) -> tables.Administrator:
    """Give the administrator whose cookie this is. Raises Unauthenticated."""
    found = db.get(tables.Administrator, digest(cookie)) if cookie else None
    if found is None or found.expires_at <= now:
        raise Unauthenticated("administrator-login-required", "log in as an administrator at /login/admin")
    return found


def csrf_token(cookie: str) -> str:
    """Give the token that a page of ours knows and a foreign page cannot read: it is bound to the cookie."""
    return hmac.new(cookie.encode(), b"sallyport csrf", hashlib.sha256).hexdigest()


def check_csrf(cookie: str, token: str | None) -> None:
    """Raise Forbidden unless `token` is that of the cookie."""
    if token is None or not hmac.compare_digest(csrf_token(cookie), token):
        raise Forbidden("csrf", "the header X-Sallyport-CSRF must carry the token of GET /v1/admin/me")
