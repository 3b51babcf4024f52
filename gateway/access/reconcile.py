"""Reconcile: make the tunnel equal the desired peers. Downgrade, quarantine, kill and recovery are all this one path.

Pure but for reading the rows. Every peer is stated with `replace_permits`, so none is ever stock WireGuard, and a change
to a peer that is there is `update_only`, so that a tunnel which has just restarted never makes half a peer of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from ipaddress import ip_network

from sqlmodel import Session, col, select

from gateway.access.verdicts import remaining_ms
from gateway.packet.permits import Permit
from gateway.store import tables
from gateway.wireguard.config import PeerConfig, PeerStatus

LEASE_TOLERANCE_MS = 2_000
"""Both sides count the same lease down, so they differ only by the time that a message takes."""


def desired_peers(
    db: Session, now: datetime, *, sessions: Collection[str] | None = None, without: Collection[str] = ()
) -> list[PeerConfig]:
    """State in full the peers of all live sessions, or of these; never that of a killed session or one in `without`."""
    rows = (
        select(tables.Peer, tables.Session)
        .join(tables.Session, col(tables.Session.id) == col(tables.Peer.live_session))
        .where(
            col(tables.Session.live_device).is_not(None),
            col(tables.Session.lease_until) > now,
            col(tables.Session.id).not_in(select(tables.Kill.session)),
        )
    )
    if sessions is not None:
        rows = rows.where(col(tables.Session.id).in_(sessions))
    return [desired(peer, session, now=now) for peer, session in db.exec(rows).all() if session.id not in without]


def desired(peer: tables.Peer, session: tables.Session, *, now: datetime) -> PeerConfig:
    """State the peer of a live session in full."""
    return PeerConfig(
        public_key=bytes.fromhex(peer.public_key),
        replace_allowed_ips=True,
        allowed_ips=tuple(ip_network(address) for address in peer.addresses),
        replace_permits=True,
        permits=tuple(Permit.parse(permit) for permit in session.permits),
        lease_ms=remaining_ms(session.lease_until, now=now),
        rate_rx=session.rate or 0,
        rate_tx=session.rate or 0,
    )


def diff(desired: Iterable[PeerConfig], actual: Iterable[PeerStatus]) -> list[PeerConfig]:
    """List the changes that make `actual` equal `desired`: what takes access away comes first. Empty when they are equal."""
    wanted = {peer.public_key: peer for peer in desired}
    present = {peer.public_key: peer for peer in actual}
    removals = [PeerConfig(key, remove=True) for key in present if key not in wanted]
    changes = [(change(peer, present.get(key)), widens(peer, present.get(key))) for key, peer in wanted.items()]
    return removals + [made for made, _ in sorted(changes, key=lambda pair: pair[1]) if made is not None]


def change(peer: PeerConfig, status: PeerStatus | None) -> PeerConfig | None:
    """Give what must be said so that `status` becomes `peer`, or None."""
    if status is None or status.permits is None:
        return peer
    moved = set(peer.allowed_ips) != set(status.allowed_ips)
    permitted = set(peer.permits) != set(status.permits)
    leased = status.lease_ms is None or abs((peer.lease_ms or 0) - status.lease_ms) > LEASE_TOLERANCE_MS
    rated = (peer.rate_rx, peer.rate_tx) != (status.rate_rx, status.rate_tx)
    if not (moved or permitted or leased or rated):
        return None
    return PeerConfig(
        public_key=peer.public_key,
        update_only=True,
        replace_allowed_ips=moved,
        allowed_ips=peer.allowed_ips if moved else (),
        replace_permits=permitted,
        permits=peer.permits if permitted else (),
        lease_ms=peer.lease_ms,
        rate_rx=peer.rate_rx if rated else None,
        rate_tx=peer.rate_tx if rated else None,
    )


def widens(peer: PeerConfig, status: PeerStatus | None) -> bool:
    """Say whether `peer` may do something that `status` may not. A stock peer may do everything."""
    if status is None:
        return True
    return status.permits is not None and not set(peer.permits) <= set(status.permits)


def renewal(peer: PeerConfig) -> PeerConfig:
    """Say only that the lease goes on."""
    return PeerConfig(peer.public_key, update_only=True, lease_ms=peer.lease_ms)
