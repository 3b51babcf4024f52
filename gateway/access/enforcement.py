"""Enforcement: what the rows say becomes what the tunnel does, in three ways that meet in one lock.

    follow      at once, for the sessions that a request has just changed, before its answer goes out
    renew       within a tick, for leases that only go on
    reconcile   for everything: after a restart of either side, after a failure, and now and then to be sure

Inside the lock the rows are read first and applied then, so that the last word is always the newest committed state.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_network

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from gateway.access import sessions
from gateway.access.addresses import Pool
from gateway.access.follower import Follower
from gateway.access.reconcile import desired_peers, renewal
from gateway.access.tunnel import UapiTunnel
from gateway.errors import TunnelError
from gateway.packet.drop import Drop
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.wireguard.config import InterfaceStatus, PeerConfig

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
    """The one way to the tunnel, in however many instances. Thread-safe."""

    def __init__(self, engine: Engine, followers: Sequence[Follower], pool: Pool) -> None:
        """`followers` are the instances in the order of their slices of the pool."""
        self._engine = engine
        self._followers = tuple(followers)
        self._pool = pool
        self._lock = threading.Lock()
        self._renewals: set[str] = set()
        self._unwritten: dict[str, Held] = {}

    @property
    def tunnels(self) -> list[UapiTunnel]:
        """The instances, for whoever only looks."""
        return [follower.tunnel for follower in self._followers]

    @property
    def whole(self) -> bool:
        """True while every instance that we configured is there and the last change reached it."""
        return all(follower.whole for follower in self._followers)

    @property
    def status(self) -> InterfaceStatus:
        """All instances together, at the last full look."""
        seen = [follower.status for follower in self._followers]
        drops: Counter[Drop] = Counter()
        for status in seen:
            drops.update(status.drops)
        return replace(seen[0], peers=tuple(peer for status in seen for peer in status.peers), drops=drops)

    def follow(self, changed: Collection[str], *, now: datetime) -> None:
        """Make the tunnel follow these sessions now. Raises TunnelError; `reconcile` then does it as soon as it can."""
        with self._lock:
            self._renewals.difference_update(changed)
            with reading(self._engine) as db:
                wanted = desired_peers(db, now, sessions=changed, without=self._unwritten)
                peers = db.exec(select(tables.Peer).where(col(tables.Peer.session).in_(changed))).all()
                places = {bytes.fromhex(peer.public_key): self._instance(peer.addresses[0]) for peer in peers}
            there = {peer.public_key for peer in wanted}
            split = self._split(wanted)
            for key, at in places.items():
                if key not in there:
                    split[at].insert(0, PeerConfig(key, remove=True))
            self._each(lambda at, follower: follower.apply(split[at]) if split[at] or len(split) == 1 else None)

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
        """Renew leases; look at everything when it is time to, or when something failed.

        Raises TunnelError for the first instance that cannot be reached, after all others have been seen to.
        """
        with self._lock:
            late = [follower.wants_a_look(now=now) for follower in self._followers]
            renewed = self._renewals
            with reading(self._engine) as db:
                wanted = self._split(desired_peers(db, now, without=self._unwritten)) if any(late) else []
                leases = (
                    self._split(desired_peers(db, now, sessions=renewed, without=self._unwritten)) if renewed else []
                )
            self._renewals = set()
            self._each(
                lambda at, follower: (
                    follower.reconcile(wanted[at], now=now)
                    if late[at]
                    else follower.apply([renewal(peer) for peer in leases[at]] if leases else [])
                )
            )

    def _split(self, peers: Iterable[PeerConfig]) -> list[list[PeerConfig]]:
        """Give every instance the peers whose addresses lie in its slice of the pool."""
        found: list[list[PeerConfig]] = [[] for _ in self._followers]
        for peer in peers:
            found[self._instance(str(peer.allowed_ips[0]))].append(peer)
        return found

    def _instance(self, address: str) -> int:
        return self._pool.instance(ip_network(address)) if len(self._followers) > 1 else 0

    def _each(self, act: Callable[[int, Follower], None]) -> None:
        """Do it for all instances, whatever becomes of one. Raises the first TunnelError afterwards."""
        failed: TunnelError | None = None
        for at, follower in enumerate(self._followers):
            try:
                act(at, follower)
            except TunnelError as error:
                failed = failed or error
        if failed is not None:
            raise failed
