"""One instance of the tunnel, as the gateway wants it: is it there, is it ours, and the changes that make it so."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from gateway.access.reconcile import diff
from gateway.access.tunnel import UapiTunnel
from gateway.errors import TunnelError
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus, PeerConfig

RECONCILE_EVERY = timedelta(seconds=5)
"""Nothing should ever differ then; the full look costs the tunnel a moment per thousand peers."""

log = structlog.get_logger()


class Follower:
    """Not thread-safe: `Enforcement` holds the lock. What fails here leaves the other instances alone."""

    def __init__(self, tunnel: UapiTunnel, private_key: bytes, listen_port: int) -> None:
        self._tunnel = tunnel
        self._interface = InterfaceConfig(private_key=private_key, listen_port=listen_port)
        self._incarnation: tuple[int, int, int] | None = None
        self._looked_at: datetime | None = None
        self.status = InterfaceStatus()

    @property
    def tunnel(self) -> UapiTunnel:
        """The way to the instance, for whoever only looks."""
        return self._tunnel

    @property
    def whole(self) -> bool:
        """True while the tunnel that we configured is there and the last change reached it."""
        return self._incarnation is not None and self._incarnation == self._tunnel.identity()

    def wants_a_look(self, *, now: datetime) -> bool:
        """Say whether everything should be compared: it is time to, or something failed."""
        late = self._looked_at is None or now - self._looked_at >= RECONCILE_EVERY or now < self._looked_at
        return late or not self.whole

    def reconcile(self, wanted: list[PeerConfig], *, now: datetime) -> None:
        """Make the tunnel equal. Raises TunnelError."""
        incarnation = self._tunnel.identity()
        try:
            self.status = self._tunnel.status()
            if self._ours(self.status):
                self._tunnel.apply(diff(wanted, self.status.peers))
            else:
                self._tunnel.configure(replace(self._interface, replace_peers=True, peers=tuple(wanted)))
                log.info("tunnel configured", peers=len(wanted), port=self._interface.listen_port)
        except TunnelError:
            self._incarnation = None
            raise
        self._incarnation, self._looked_at = incarnation, now

    def _ours(self, status: InterfaceStatus) -> bool:
        return (status.private_key, status.listen_port) == (self._interface.private_key, self._interface.listen_port)

    def apply(self, peers: list[PeerConfig]) -> None:
        """Change these peers. A tunnel that is not known to be ours is told nothing but the whole. Raises TunnelError."""
        if not self.whole:
            self._incarnation = None
            raise TunnelError("the tunnel is not there")
        try:
            self._tunnel.apply(peers)
        except TunnelError:
            self._incarnation = None
            raise
