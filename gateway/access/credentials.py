"""Credentials: the tunnel's end of a session. A WireGuard public key is given to one session, once, for ever."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlmodel import Session

from agent.wire import TunnelConfig
from gateway.access import audit, sessions
from gateway.access.addresses import Pool, lease
from gateway.access.audit import Event
from gateway.errors import Conflict, Malformed
from gateway.store import tables

KEEPALIVE_SECONDS = 25
"""Shorter than the 30 s after which the most impatient NATs forget a UDP flow."""


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """The gateway's end of the tunnel, as every agent is told it. Port and endpoint are the first instance's."""

    private_key: bytes
    listen_port: int
    endpoint: str
    pool: Pool
    mtu: int
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def public_key(self) -> bytes:
        return X25519PrivateKey.from_private_bytes(self.private_key).public_key().public_bytes_raw()

    def endpoint_for(self, addresses: Sequence[str]) -> str:
        """Where the peer with these addresses finds its instance."""
        host, _, port = self.endpoint.rpartition(":")
        return f"{host}:{int(port) + self.pool.instance(ip_network(addresses[0]))}"


def issue(db: Session, end: TunnelEnd, session: tables.Session, public_key: object, *, now: datetime) -> TunnelConfig:
    """Give the session a tunnel for this key. Asking again with the same key gives the same.

    Raises Conflict `report-first` before the first report, `key-used` for a key that any session ever had.
    """
    if session.sequence == 0:
        raise Conflict("report-first", "send a posture report before asking for a credential")
    key = _checked(public_key, end)
    peer = db.get(tables.Peer, key.hex())
    if peer is None:
        peer = _new_peer(db, session, key, lease(db, session, end.pool, now=now), now=now)
    elif peer.live_session != session.id:
        raise Conflict("key-used", "this WireGuard key has been used before; make a new one for every session")
    dns = tuple(
        server for server in end.dns if any(ip_address(server) in ip_network(route) for route in session.routes)
    )
    return TunnelConfig(
        public_key=b64encode(end.public_key).decode(),
        endpoint=end.endpoint_for(peer.addresses),
        addresses=tuple(peer.addresses),
        routes=tuple(session.routes),
        mtu=end.mtu,
        keepalive=KEEPALIVE_SECONDS,
        dns=dns,  # a server that this session cannot reach at any tier would only swallow its questions
        domains=end.domains if dns else (),
    )


def _new_peer(
    db: Session, session: tables.Session, key: bytes, addresses: tuple[str, ...], *, now: datetime
) -> tables.Peer:
    before = sessions.live_peer(db, session.id)
    if before is not None:
        before.live_session = None
        db.flush()  # `live_session` is UNIQUE: the old key lets go before the new one takes it
    peer = tables.Peer(
        public_key=key.hex(), session=session.id, live_session=session.id, addresses=list(addresses), issued_at=now
    )
    db.add(peer)
    audit.record(
        db,
        Event.CREDENTIAL_ISSUED,
        now=now,
        actor=session.user,
        device=session.device,
        session=session.id,
        public_key=b64encode(key).decode(),
        addresses=list(addresses),
        tier=session.tier,
    )
    return peer


def _checked(text: object, end: TunnelEnd) -> bytes:
    try:
        key = b64decode(text, validate=True) if isinstance(text, str) and len(text) == 44 else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32 or b64encode(key).decode() != text:
        raise Malformed("key-malformed", "public_key must be a WireGuard public key: 32 bytes in base64")
    if key == end.public_key or _low_order(key):
        raise Malformed("key-weak", "public_key is not a key that a device can have")
    return key


def _low_order(key: bytes) -> bool:
    """RFC 7748 section 6.1: such a key gives the all-zero secret to everybody; the exchange itself refuses it."""
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        return True
    return False
