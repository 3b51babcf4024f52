"""Families of refresh tokens: each is good once, and one that comes again ends the family (RFC 9700 section 4.14.2)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, update
from sqlmodel import Session, col

from gateway.access import audit
from gateway.access.audit import GATEWAY, Event
from gateway.access.identifiers import Entropy, new_identifier
from gateway.errors import Unauthenticated
from gateway.identity.kinds import REFRESH_LIFETIME
from gateway.identity.tokens import VerifiedRefresh
from gateway.store import tables


class Reused(Unauthenticated):
    """A refresh token came twice. The caller ends the family; this transaction changes nothing."""


def begin(db: Session, device: str, *, now: datetime, entropy: Entropy) -> tables.TokenFamily:
    """Begin a family for the device; an older one of the same device is forgotten, and with it all its tokens."""
    rows = tables.TokenFamily
    db.exec(delete(rows).where((col(rows.device) == device) | (col(rows.expires_at) <= now)))
    row = rows(id=new_identifier(entropy), device=device, generation=1, expires_at=now + REFRESH_LIFETIME)
    db.add(row)
    return row


def rotate(db: Session, refresh: VerifiedRefresh, *, now: datetime) -> tables.TokenFamily:
    """Use a refresh token up: one UPDATE, which only the first of two can win. Raises Unauthenticated, or Reused."""
    rows = tables.TokenFamily
    good = (rows.id == refresh.family, rows.device == refresh.device, rows.generation == refresh.generation)
    living = (col(rows.ended_at).is_(None), col(rows.expires_at) > now)
    change = update(rows).where(*good, *living).values(generation=refresh.generation + 1)  # type: ignore[arg-type]
    turned = db.exec(change).rowcount
    row = db.get(rows, refresh.family)
    if row is None or row.ended_at is not None or row.expires_at <= now or row.device != refresh.device:
        raise Unauthenticated("grant-ended", "this refresh token's family has ended; ask with the device key")
    if turned != 1:
        raise Reused("grant-reused", "this refresh token has been used before: its whole family has ended")
    return row


def end(db: Session, family: str, *, now: datetime) -> None:
    """End a family because one of its tokens came twice."""
    row = db.get(tables.TokenFamily, family)
    if row is not None and row.ended_at is None:
        row.ended_at = now
        audit.record(db, Event.TOKENS_ENDED, now=now, actor=GATEWAY, device=row.device, reason="refresh token reused")
