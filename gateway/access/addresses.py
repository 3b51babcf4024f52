"""The address pool: one place per live session, the same in every family, and rested before somebody else gets it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func
from sqlmodel import Session, col, select

from gateway.errors import Unavailable
from gateway.instances import slice_size
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
    instances: int = 1

    def places(self, instance: int) -> range:
        """The places of an instance's slice: the smallest network decides, and an IPv4 slice keeps its broadcast address."""
        if self.instances == 1:
            return range(min(n.num_addresses - RESERVED - (n.version == 4) for n in self.networks))
        size = slice_size(self.networks, self.instances)
        begin = instance * size
        return range(begin, begin + size - RESERVED - any(n.version == 4 for n in self.networks))

    def instance(self, address: Network) -> int:
        """Whose slice an address lies in; the first one's for an address that is not of this pool."""
        for network in self.networks:
            if address.version == network.version and address.network_address in network:
                offset = int(address.network_address) - int(network.network_address)
                return min(offset // slice_size(self.networks, self.instances), self.instances - 1)
        return 0

    def at(self, place: int) -> tuple[str, ...]:
        """List the addresses of a place as host CIDRs, IPv4 as /32 and IPv6 as /128."""
        return tuple(f"{n[RESERVED + place]}/{n.max_prefixlen}" for n in self.networks)


def lease(db: Session, session: tables.Session, pool: Pool, *, now: datetime) -> tuple[str, ...]:
    """Give the session its addresses, the same ones each time, at the instance that has the fewest sessions.

    Raises Unavailable when the pool is used up.
    """
    rows = tables.Address
    held = db.exec(select(rows).where(rows.session == session.id)).one_or_none()
    if held is None:
        held = _place(db, pool, now=now)
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


def _place(db: Session, pool: Pool, *, now: datetime) -> tables.Address:
    """A place that has rested, or one that nobody ever had."""
    slices = [pool.places(instance) for instance in range(pool.instances)]
    for places in sorted(slices, key=lambda each: _taken(db, each)) if len(slices) > 1 else slices:
        found = _rested(db, places, now=now) or _never_used(db, places)
        if found is not None:
            return found
    everything = sum(map(len, slices))
    raise Unavailable("no-address", f"all {everything} tunnel addresses are in use or resting; try again in 3 minutes")


def _taken(db: Session, places: range) -> int:
    rows = tables.Address
    return db.exec(select(func.count()).where(col(rows.session).is_not(None), _within(places))).one()


def _rested(db: Session, places: range, *, now: datetime) -> tables.Address | None:
    rows = tables.Address
    rested = select(rows).where(col(rows.session).is_(None), col(rows.free_at) <= now, _within(places))
    return db.exec(rested.order_by(col(rows.free_at)).limit(1)).one_or_none()


def _never_used(db: Session, places: range) -> tables.Address | None:
    last: int | None = db.exec(select(func.max(tables.Address.place)).where(_within(places))).one()
    place: int = places.start if last is None else last + 1
    return tables.Address(place=place) if place in places else None


def _within(places: range) -> ColumnElement[bool]:
    return and_(col(tables.Address.place) >= places.start, col(tables.Address.place) < places.stop)
