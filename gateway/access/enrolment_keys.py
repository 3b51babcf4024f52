"""Enrolment keys: one secret enrols one unattended machine, once, however many try at the same moment.

The machine has no user: it belongs to the key, under the key's name and in its groups, until its login ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from gateway.access import audit, enrolment
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest, new_identifier, new_secret
from gateway.errors import NotFound, Unauthenticated
from gateway.identity.device import VerifiedDeviceClaims
from gateway.store import tables

ISSUER = "sallyport"
"""The issuer of machines, which no provider can be: a provider's is a URL."""


def create(
    db: Session,
    *,
    name: str,
    groups: Sequence[str],
    lifetime: timedelta,
    login_days: int,
    by: str,
    now: datetime,
    entropy: Entropy,
) -> tuple[tables.EnrolmentKey, str]:
    """Make a key. Gives its row and the secret, which is not kept and never shown again."""
    secret = new_secret(entropy)
    row = tables.EnrolmentKey(
        id=new_identifier(entropy),
        secret_digest=digest(secret),
        name=name,
        groups=list(groups),
        created_at=now,
        created_by=by,
        expires_at=now + lifetime,
        login_days=login_days,
    )
    db.add(row)
    audit.record(db, Event.KEY_CREATED, now=now, actor=by, key=row.id, name=name, groups=row.groups)
    return row, secret


def withdraw(db: Session, key: str, *, by: str, now: datetime) -> None:
    """End a key that nobody has used. Raises NotFound."""
    found = db.get(tables.EnrolmentKey, key)
    if found is None:
        raise NotFound("key-unknown", "there is no such enrolment key")
    if found.used_at is None and found.expires_at > now:
        found.expires_at = now
        audit.record(db, Event.KEY_WITHDRAWN, now=now, actor=by, key=found.id, name=found.name)


def redeem(db: Session, verified: VerifiedDeviceClaims, *, now: datetime, entropy: Entropy) -> tables.Login:
    """Enrol the machine that holds this device key. Raises Unauthenticated unless the secret is good, which it is once."""
    secret = verified.claims.get("enrolment_key")
    key = _take(db, digest(secret) if isinstance(secret, str) else "", verified.device, now=now)
    owner = enrolment.Owner(ISSUER, key.id, key.name, tuple(key.groups))
    described = enrolment.Description.read(verified.claims)
    device = enrolment.admit(
        db, verified.device, dict(verified.key.jwk), described, owner, approved_by=key.created_by, now=now
    )
    login = tables.Login(
        id=new_identifier(entropy),
        device=device.id,
        issuer=ISSUER,
        subject=key.id,
        user=key.name,
        groups=list(key.groups),
        authenticated_at=now,
        issued_at=now,
        expires_at=now + timedelta(days=key.login_days),
    )
    db.add(login)
    audit.record(
        db, Event.DEVICE_LOGGED_IN, now=now, actor=key.name, device=device.id, issuer=ISSUER, groups=key.groups
    )
    return login


def _take(db: Session, secret_digest: str, device: str, *, now: datetime) -> tables.EnrolmentKey:
    """Use the key up: one UPDATE that can only succeed once, whatever the isolation level."""
    rows = tables.EnrolmentKey
    usable = (rows.secret_digest == secret_digest, col(rows.used_at).is_(None), col(rows.expires_at) > now)
    taken = db.exec(update(rows).where(*usable).values(used_at=now, used_by=device))  # type: ignore[arg-type]
    if taken.rowcount != 1:
        raise Unauthenticated("key-wrong", "this enrolment key is wrong, used already or over; ask for another one")
    return db.exec(select(rows).where(rows.secret_digest == secret_digest)).one()
