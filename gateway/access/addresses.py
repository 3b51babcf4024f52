"""The address pool: one place per live session, the same in every family, and rested before somebody else gets it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from gateway.errors import Unavailable
from gateway.settings import Network
from gateway.store import tables

QUARANTINE = timedelta(seconds=180)
"""Longer than WireGuard keeps a keypair (REJECT_AFTER_TIME), so that no late packet reaches the next holder."""

RESERVED = 2
"""The network's own address and the gateway's, which is the first host."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The inside networks, at most one per family. Place 0 is the first address that a session may have."""

    networks: tuple[Network, ...]

    @property
    def size(self) -> int:
        """How many sessions fit: the smallest network decides, and an IPv4 network keeps its broadcast address."""
        return min(n.num_addresses - RESERVED - (n.version == 4) for n in self.networks)

    def at(self, place: int) -> tuple[str, ...]:
        """List the addresses of a place as host CIDRs, IPv4 as /32 and IPv6 as /128."""
        return tuple(f"{n[RESERVED + place]}/{n.max_prefixlen}" for n in self.networks)


def lease(db: Session, session: tables.Session, pool: Pool, *, now: datetime) -> tuple[str, ...]:
    """Give the session its addresses, the same ones each time. Raises Unavailable when the pool is used up."""
    rows = tables.Address
    held = db.exec(select(rows).where(rows.session == session.id)).one_or_none()
    if held is None:
        rested = select(rows).where(col(rows.session).is_(None), col(rows.free_at) <= now, col(rows.place) < pool.size)
        held = db.exec(rested.order_by(col(rows.free_at)).limit(1)).one_or_none() or _never_used(db, pool)
        held.session, held.free_at = session.id, None
        db.add(held)
        db.flush()
    return pool.at(held.place)


def release(db: Session, session: tables.Session, *, now: datetime) -> None:
    """Let the address rest: 180 s, and until the tunnel has certainly forgotten the lease."""
    held = db.exec(select(tables.Address).where(tables.Address.session == session.id)).one_or_none()
    if held is not None:
        held.session = None
        held.free_at = max(now + QUARANTINE, session.lease_until)


def _never_used(db: Session, pool: Pool) -> tables.Address:
    last: int | None = db.exec(select(func.max(tables.Address.place))).one()
    place: int = 0 if last is None else last + 1
    if place >= pool.size:
        raise Unavailable(
            "no-address", f"all {pool.size} tunnel addresses are in use or resting; try again in 3 minutes"
        )
    return tables.Address(place=place)
