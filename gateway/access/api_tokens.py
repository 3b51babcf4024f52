"""API tokens: how programs manage. Opaque, with a role and an end; only the SHA-256 is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session, select

from gateway.access import audit
from gateway.access.administrators import Role
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest, new_identifier, new_secret
from gateway.errors import NotFound, Unauthenticated
from gateway.store import tables

PREFIX = "sallyport_"
"""So that scanners for leaked secrets, and people, recognise one."""

LONGEST_LIFETIME = timedelta(days=366)


def create(
    db: Session, *, name: str, role: Role, lifetime: timedelta, by: str, now: datetime, entropy: Entropy
) -> tuple[tables.ApiToken, str]:
    """Make a token. Gives its row and the secret, which is not kept and never shown again."""
    secret = PREFIX + new_secret(entropy)
    row = tables.ApiToken(
        id=new_identifier(entropy),
        secret_digest=digest(secret),
        name=name,
        scopes=[role.value],
        created_at=now,
        created_by=by,
        expires_at=now + min(lifetime, LONGEST_LIFETIME),
    )
    db.add(row)
    audit.record(db, Event.API_TOKEN_CREATED, now=now, actor=by, token=row.id, name=name, role=role.value)
    return row, secret


def revoke(db: Session, token: str, *, by: str, now: datetime) -> None:
    """End a token. Revoking twice changes nothing. Raises NotFound."""
    found = db.get(tables.ApiToken, token)
    if found is None:
        raise NotFound("token-unknown", "there is no such API token")
    if found.revoked_at is None:
        found.revoked_at = now
        audit.record(db, Event.API_TOKEN_REVOKED, now=now, actor=by, token=found.id, name=found.name)


def by_secret(db: Session, secret: str, *, now: datetime) -> tuple[tables.ApiToken, Role]:
    """Give the token that this secret is, and its role. Raises Unauthenticated."""
    found = db.exec(select(tables.ApiToken).where(tables.ApiToken.secret_digest == digest(secret))).one_or_none()
    if found is None or found.revoked_at is not None or found.expires_at <= now:
        raise Unauthenticated("api-token", "this API token is wrong, revoked or over")
    return found, max((Role(scope) for scope in found.scopes), key=list(Role).index)
