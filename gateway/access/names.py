"""DNS names in a policy, and the addresses that they have now. One answer for everybody: it is kept in the database.

An answer is asked for again when its TTL is over, at least every LONGEST_TTL, and never more often than every SHORTEST_TTL. One
that cannot be had is kept for STALE longer, and then means nothing: what a name stands for is not remembered for ever. When
an answer is another one, every session that depends on names is due at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, delete, select

from gateway.policy.model import Answers
from gateway.store import tables

SHORTEST_TTL = timedelta(seconds=5)
LONGEST_TTL = timedelta(minutes=5)
STALE = timedelta(minutes=5)
RETRY = timedelta(seconds=5)
MOST_ADDRESSES = 32
"""Of one name: more would make a hole of a permit, and of a policy a matter of somebody else's zone file."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a name has. No addresses: the name server says that there are none."""

    addresses: tuple[str, ...]
    ttl: timedelta


Lookup = Callable[[str], Found | None]
"""Asks for a name; None: there was no answer."""


def known(db: Session) -> Answers:
    """Give the addresses of every name that has any."""
    return {row.name: tuple(row.addresses) for row in db.exec(select(tables.Name)).all() if row.addresses}


def due(db: Session, names: Collection[str], *, now: datetime) -> list[str]:
    """List the names that must be asked for, and forget those that no policy holds any more."""
    db.exec(delete(tables.Name).where(col(tables.Name.name).not_in(names)))
    later = set(db.exec(select(tables.Name.name).where(tables.Name.refresh_at > now)).all())
    return sorted(set(names) - later)


def learn(db: Session, name: str, found: Found | None, *, now: datetime) -> bool:
    """Keep an answer. Says whether it is another one; then every session that depends on names is due."""
    row = db.get(tables.Name, name) or tables.Name(name=name, addresses=[], refresh_at=now, good_until=now)
    before = list(row.addresses)
    if found is None:
        row.refresh_at = now + RETRY
        row.addresses = before if now < row.good_until else []
    else:
        ttl = min(max(found.ttl, SHORTEST_TTL), LONGEST_TTL)
        row.addresses = sorted(set(found.addresses))[:MOST_ADDRESSES]
        row.refresh_at, row.good_until = now + ttl, now + ttl + STALE
    db.add(row)
    changed = row.addresses != before
    if changed:
        rows = tables.Session
        by_name = (col(rows.live_device).is_not(None), col(rows.by_name).is_(True))
        db.execute(update(rows).where(*by_name).values(due_at=now))
    return changed
