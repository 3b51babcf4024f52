"""One peer: its keys, its flows, its lease and what waits for a handshake."""

from __future__ import annotations

from collections import Counter, deque
from typing import TypeVar

from gateway.packet.checksum import Buffer
from gateway.packet.drop import Drop
from gateway.packet.flows import Flows
from gateway.packet.offload import Parts
from gateway.packet.permits import Guard, Permits
from gateway.packet.prefixes import Network
from gateway.wireguard.config import Endpoint, PeerConfig, PeerStatus
from gateway.wireguard.cookie import CookieJar
from gateway.wireguard.keypair import Keypair
from gateway.wireguard.noise import Initiated
from gateway.wireguard.pace import Pace
from gateway.wireguard.ratelimit import AnswerLimiter
from gateway.wireguard.spec import MAX_STAGED
from gateway.wireguard.timers import NEVER, Timers

NO_PRESHARED_KEY = bytes(32)
T = TypeVar("T")


class Peer:
    """The state of one peer. `static_static` is dh(ours, theirs), None when their key is of low order."""

    __slots__ = (
        "_guard", "allowed_ips", "answers", "attempts", "consumed_at", "current", "denied_at", "drops", "endpoint", "flows", "handshake",
        "handshake_index", "initiated_at", "jar", "jitter", "keepalive", "last_handshake", "lease_over", "next",
        "pace_rx", "pace_tx", "preshared", "previous", "public_key", "removed", "rx_bytes", "scheduled", "staged", "static_static",
        "syn_at", "timers", "tx_bytes",
    )  # fmt: skip

    def __init__(self, public_key: bytes, static_static: bytes | None, guard: Guard) -> None:
        self.public_key = public_key
        self._guard = guard
        self.static_static = static_static
        self.preshared = NO_PRESHARED_KEY
        self.endpoint: Endpoint | None = None
        self.keepalive = 0
        self.allowed_ips: dict[Network, None] = {}
        self.flows: Flows | None = None
        self.answers = AnswerLimiter()
        self.pace_rx: Pace[tuple[Buffer, Parts]] | None = None
        self.pace_tx: Pace[bytes] | None = None
        self.removed = False
        self.jar = CookieJar(public_key)
        self.previous: Keypair | None = None
        self.current: Keypair | None = None
        self.next: Keypair | None = None
        self.handshake: Initiated | None = None
        self.handshake_index = 0
        self.initiated_at = -NEVER
        self.attempts = 0
        self.jitter = 0.0
        self.consumed_at = -NEVER
        self.staged: deque[bytes] = deque()
        self.timers = Timers()
        self.lease_over = False
        self.scheduled = NEVER
        self.denied_at = -NEVER
        self.syn_at = -NEVER
        self.last_handshake = 0.0
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.drops: Counter[Drop] = Counter()

    def configure(self, config: PeerConfig, *, now: float) -> None:
        """Take over what `config` says about the peer itself; allowed IPs are the interface's."""
        self.preshared = self.preshared if config.preshared_key is None else config.preshared_key
        self.endpoint = self.endpoint if config.endpoint is None else config.endpoint
        self.keepalive = self.keepalive if config.keepalive is None else config.keepalive
        self._configure_permits(config)
        self.pace_rx = _changed(self.pace_rx, config.rate_rx)
        self.pace_tx = _changed(self.pace_tx, config.rate_tx)
        if config.lease_ms is not None:
            self.timers.lease = now + config.lease_ms / 1000
            self.lease_over = self.lease_over and config.lease_ms == 0

    def _configure_permits(self, config: PeerConfig) -> None:
        if not config.replace_permits and not config.permits:
            return
        before = () if config.replace_permits or self.flows is None else self.flows.permits.all
        permits = Permits(dict.fromkeys((*before, *config.permits)), self._guard)
        if self.flows is None:
            self.flows = Flows(permits)
        else:
            self.flows.replace(permits)

    def guard(self, guard: Guard) -> None:
        """Take over which addresses a permit has to name; it rules the next packet."""
        self._guard = guard
        if self.flows is not None:
            self.flows.replace(Permits(self.flows.permits.all, guard))

    def ended(self, *, now: float) -> bool:
        """Say whether the lease is over. Asked before every packet, so that a sleeping process never forwards late."""
        return now >= self.timers.lease

    def stop_waiting(self) -> None:
        """Let go of all packets that wait: for keys, or for their turn."""
        self.staged.clear()
        for pace in (self.pace_rx, self.pace_tx):
            if pace is not None:
                pace.clear()

    def plan_paces(self) -> None:
        """Let the timers know when the next packet that is held to a rate may pass."""
        rx, tx = self.pace_rx, self.pace_tx
        self.timers.pace = min(NEVER if rx is None else rx.next_turn(), NEVER if tx is None else tx.next_turn())

    def keypairs(self) -> list[Keypair]:
        return [pair for pair in (self.previous, self.current, self.next) if pair is not None]

    def stage(self, frame: bytes) -> bool:
        """Keep a frame until there are keys; False when the oldest had to make room."""
        self.staged.append(frame)
        if len(self.staged) > MAX_STAGED:
            self.staged.popleft()
            return False
        return True

    def status(self, *, now: float) -> PeerStatus:
        return PeerStatus(
            public_key=self.public_key,
            preshared_key=self.preshared,
            endpoint=self.endpoint,
            last_handshake=self.last_handshake,
            rx_bytes=self.rx_bytes,
            tx_bytes=self.tx_bytes,
            keepalive=self.keepalive,
            allowed_ips=tuple(self.allowed_ips),
            permits=None if self.flows is None else self.flows.permits.all,
            lease_ms=None if self.timers.lease == NEVER else max(0, round((self.timers.lease - now) * 1000)),
            rate_rx=0 if self.pace_rx is None else self.pace_rx.bits,
            rate_tx=0 if self.pace_tx is None else self.pace_tx.bits,
            drops=dict(self.drops),
        )


def _changed(pace: Pace[T] | None, bits: int | None) -> Pace[T] | None:
    """The pace after a change: None keeps it, 0 lifts it, another rate begins anew without what waited."""
    if bits is None or (pace is not None and bits == pace.bits):
        return pace
    return Pace(bits) if bits else None
