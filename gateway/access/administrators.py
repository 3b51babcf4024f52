"""Who manages: auditors look, operators act on sessions and devices, administrators also give access to the management.

People come with a browser session by an opaque cookie, programs with an API token (`api_tokens`); both have a role.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, select

from gateway.access import audit, logout
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest, new_secret
from gateway.errors import Forbidden, Unauthenticated
from gateway.identity.oidc import VerifiedLogin
from gateway.policy.policy import Policy
from gateway.store import tables

LIFETIME = timedelta(hours=8)
"""A working day; then the provider is asked again."""


class Role(enum.StrEnum):
    """What a manager may do. Every role includes those before it."""

    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Say whether who has this role has the other one too."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Management:
    """The groups that manage, and `tier`: what a manager's own machine must be worth while they do; None asks nothing."""

    admin_group: str
    operator_group: str | None = None
    auditor_group: str | None = None
    tier: str | None = None

    def role(self, groups: Collection[str]) -> Role | None:
        """Give the highest role of a member of these groups."""
        named = {Role.ADMIN: self.admin_group, Role.OPERATOR: self.operator_group, Role.AUDITOR: self.auditor_group}
        return next((role for role, group in named.items() if group is not None and group in groups), None)


def begin(db: Session, login: VerifiedLogin, management: Management, *, now: datetime, entropy: Entropy) -> str:
    """Open a browser session for a manager, always with a new cookie. Gives the cookie. Raises Forbidden for anybody else,
    and Unauthenticated for a login that the provider has ended since."""
    role = management.role(login.groups)
    if role is None:
        raise Forbidden("not-an-administrator", f"{login.user} is in no group that manages this gateway")
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
        role=role.value,
    )
    db.add(row)
    audit.record(db, Event.ADMINISTRATOR_LOGGED_IN, now=now, actor=login.user, issuer=login.issuer, role=role.value)
    return cookie


def end(db: Session, cookie: str | None) -> None:
    """Forget a browser session: a new login takes its place."""
    if cookie:
        db.exec(delete(tables.Administrator).where(col(tables.Administrator.cookie_digest) == digest(cookie)))


def by_cookie(db: Session, cookie: str | None, *, now: datetime) -> tables.Administrator:
    """Give the manager whose cookie this is. Raises Unauthenticated."""
    found = db.get(tables.Administrator, digest(cookie)) if cookie else None
    if found is None or found.expires_at <= now:
        raise Unauthenticated("administrator-login-required", "log in as an administrator at /login/admin")
    return found


def check_posture(db: Session, manager: tables.Administrator, tier: str, policy: Policy, *, now: datetime) -> None:
    """Raise Forbidden unless a device of the manager has a live session of this tier or better at this moment."""
    rows, logins = tables.Session, tables.Login
    theirs = (logins.issuer == manager.issuer, logins.subject == manager.subject)
    living = (col(rows.live_device).is_not(None), col(rows.lease_until) > now)
    found = db.exec(select(rows.tier).join(logins, col(logins.id) == rows.login).where(*theirs, *living)).all()
    enough = policy.tiers[: policy.tiers.index(tier) + 1] if tier in policy.tiers else ()
    if not any(one in enough for one in found):
        raise Forbidden(
            "administrator-posture", f"managing needs a connected device of yours with the tier {tier} or better"
        )


def csrf_token(cookie: str) -> str:
    """Give the token that a page of ours knows and a foreign page cannot read: it is bound to the cookie."""
    return hmac.new(cookie.encode(), b"sallyport csrf", hashlib.sha256).hexdigest()


def check_csrf(cookie: str, token: str | None) -> None:
    """Raise Forbidden unless `token` is that of the cookie."""
    if token is None or not hmac.compare_digest(csrf_token(cookie), token):
        raise Forbidden("csrf", "the header X-Sallyport-CSRF must carry the token of GET /v1/admin/me")
