"""Enforcement: what the rows say becomes what the tunnel does, in three ways that meet in one lock.

    follow      at once, for the sessions that a request has just changed, before its answer goes out
    renew       within a tick, for leases that only go on
    reconcile   for everything: after a restart of either side, after a failure, and now and then to be sure

Inside the lock the rows are read first and applied then, so that the last word is always the newest committed state.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from gateway.access import sessions
from gateway.access.reconcile import desired_peers, diff, renewal
from gateway.access.tunnel import UapiTunnel
from gateway.errors import TunnelError
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus, PeerConfig

RECONCILE_EVERY = timedelta(seconds=5)
"""Nothing should ever differ then; the full look costs the tunnel a moment per thousand peers."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """A kill that is in force and could not be written yet."""

    session: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Killed:
    """The sessions that a kill ended, and whether it is on the disk already."""

    sessions: tuple[str, ...]
    recorded: bool


class Enforcement:
    """The one way to the tunnel. Thread-safe."""

    def __init__(self, engine: Engine, tunnel: UapiTunnel, private_key: bytes, listen_port: int) -> None:
        self._engine = engine
        self.tunnel = tunnel
        self._interface = InterfaceConfig(private_key=private_key, listen_port=listen_port)
        self._lock = threading.Lock()
        self._renewals: set[str] = set()
        self._unwritten: dict[str, Held] = {}
        self._incarnation: tuple[int, int, int] | None = None
        self._looked_at: datetime | None = None
        self.status = InterfaceStatus()

    @property
    def whole(self) -> bool:
        """True while the tunnel that we configured is there and the last change reached it."""
        return self._incarnation is not None and self._incarnation == self.tunnel.identity()

    def follow(self, changed: Collection[str], *, now: datetime) -> None:
        """Make the tunnel follow these sessions now. Raises TunnelError; `reconcile` then does it as soon as it can."""
        with self._lock:
            self._renewals.difference_update(changed)
            with reading(self._engine) as db:
                wanted = desired_peers(db, now, sessions=changed, without=self._unwritten)
                keys = db.exec(select(tables.Peer.public_key).where(col(tables.Peer.session).in_(changed))).all()
            there = {peer.public_key for peer in wanted}
            gone = [PeerConfig(bytes.fromhex(key), remove=True) for key in keys if bytes.fromhex(key) not in there]
            self._apply(InterfaceConfig(peers=(*gone, *wanted)))

    def renew(self, session: str) -> None:
        """Have the session's lease go on in the tunnel at the next tick: a minute's lease need not be said at once."""
        with self._lock:
            self._renewals.add(session)

    def kill(self, session: str, *, by: str, reason: str, now: datetime) -> Killed:
        """Kill a session, and whatever its device has opened since. Raises NotFound.

        A kill takes access away, so it waits for nothing: when it cannot be written it is held, in force all the same,
        and written by `write_kills` later.
        """
        with reading(self._engine) as db:
            affected = {session, *(alive.id for alive in sessions.of_same_device(db, session))}
        try:
            with writing(self._engine) as db:
                sessions.kill(db, session, by=by, reason=reason, now=now)
            recorded = True
        except SQLAlchemyError as error:
            log.error("kill not recorded", session=session, error=str(error))
            with self._lock:
                self._unwritten.update(dict.fromkeys(affected, Held(session, by, reason)))
            recorded = False
        try:
            self.follow(affected, now=now)
        except TunnelError as error:
            log.error("kill waits for the tunnel", session=session, error=str(error))
        return Killed(tuple(affected), recorded)

    def write_kills(self, *, now: datetime) -> None:
        """Write the kills that could not be written when they were made. Raises SQLAlchemyError while that goes on."""
        for held in set(self._unwritten.values()):
            with writing(self._engine) as db:
                sessions.kill(db, held.session, by=held.by, reason=held.reason, now=now)
            with self._lock:
                self._unwritten = {name: kill for name, kill in self._unwritten.items() if kill != held}

    def tick(self, *, now: datetime) -> None:
        """Renew leases; look at everything when it is time to, or when something failed. Raises TunnelError."""
        with self._lock:
            late = self._looked_at is None or now - self._looked_at >= RECONCILE_EVERY or now < self._looked_at
            if not self.whole or late:
                self._reconcile(now=now)
            elif self._renewals:
                with reading(self._engine) as db:
                    wanted = desired_peers(db, now, sessions=self._renewals, without=self._unwritten)
                self._renewals.clear()
                self._apply(InterfaceConfig(peers=tuple(renewal(peer) for peer in wanted)))

    def _reconcile(self, *, now: datetime) -> None:
        incarnation = self.tunnel.identity()
        try:
            self.status = self.tunnel.status()
            with reading(self._engine) as db:
                wanted = desired_peers(db, now, without=self._unwritten)
            if self._ours(self.status):
                self.tunnel.apply(diff(wanted, self.status.peers))
            else:
                self.tunnel.configure(replace(self._interface, replace_peers=True, peers=tuple(wanted)))
                log.info("tunnel configured", peers=len(wanted))
        except TunnelError:
            self._incarnation = None
            raise
        self._renewals.clear()
        self._incarnation, self._looked_at = incarnation, now

    def _ours(self, status: InterfaceStatus) -> bool:
        return (status.private_key, status.listen_port) == (self._interface.private_key, self._interface.listen_port)

    def _apply(self, config: InterfaceConfig) -> None:
        """A tunnel that is not known to be ours is told nothing but the whole (`_reconcile`)."""
        if not self.whole:
            self._incarnation = None
            raise TunnelError("the tunnel is not there")
        try:
            self.tunnel.configure(config)
        except TunnelError:
            self._incarnation = None
            raise
