"""Our end of WireGuard, sans-IO: bytes, configuration and time go in; datagrams, frames and deadlines come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from gateway.packet.drop import Drop
from gateway.packet.offload import Parts
from gateway.packet.permits import Guard
from gateway.packet.prefixes import Network
from gateway.wireguard import inheritance
from gateway.wireguard.config import Endpoint, InterfaceConfig, InterfaceStatus, PeerConfig
from gateway.wireguard.events import Event, Kind
from gateway.wireguard.handshaking import Handshaking
from gateway.wireguard.messages import COOKIE_REPLY, INITIATION, RESPONSE, SIZES, TRANSPORT, TransportTrain
from gateway.wireguard.noise import StaticKey
from gateway.wireguard.outbox import Transmit
from gateway.wireguard.peer import Peer
from gateway.wireguard.spec import MAX_PEERS, Entropy
from gateway.wireguard.state import State
from gateway.wireguard.timers import Due
from gateway.wireguard.timestamps import Timestamps
from gateway.wireguard.transforms import Transforms, choose
from gateway.wireguard.transport import Transport

NO_KEY = bytes(32)


class Interface:
    """One WireGuard interface.

    `now` is boottime in seconds, taken once per batch by the caller; `unix_time` is the wall clock at the same moment,
    used for TAI64N and shown times only. The same inputs and entropy give the same outputs, byte for byte.
    """

    def __init__(
        self,
        *,
        now: float,
        unix_time: float,
        entropy: Entropy,
        transforms: Transforms | None = None,
        timestamps: Timestamps | None = None,
    ) -> None:
        """`transforms` None takes the best that is installed, `timestamps` None keeps them in memory."""
        chosen = transforms or choose()
        self._state = State(unix_offset=unix_time - now, entropy=entropy, transforms=chosen)
        self._state.timestamps = timestamps or Timestamps()
        self._handshaking = Handshaking(self._state)
        self._transport = Transport(self._state, self._handshaking)
        self._listen_port = 0
        self._fwmark = 0
        self._guarded: frozenset[Network] = frozenset()
        inheritance.die_on_fork(self)

    @property
    def drops(self) -> Counter[Drop]:
        """Everything that was refused, by reason."""
        return self._state.drops

    def set_offload(self, *, mtu: int, udp: bool) -> None:
        """Say what the TUN takes: its MTU in bytes, and whether UDP super-packets."""
        self._state.mtu = mtu
        self._state.udp_offload = udp

    def guard(self, networks: Iterable[Network]) -> None:
        """Say which addresses a wide permit does not mean: the host's own, and the pool that the peers are in."""
        state, guarded = self._state, frozenset(networks)
        if guarded == self._guarded:
            return
        self._guarded, state.guard = guarded, Guard(guarded)
        for peer in state.peers.values():
            peer.guard(state.guard)

    # configuration

    def configure(self, config: InterfaceConfig, *, now: float) -> None:
        """Apply a change. It rules from the next packet on."""
        if config.private_key is not None:
            self._set_private_key(config.private_key)
        self._listen_port = self._listen_port if config.listen_port is None else config.listen_port
        self._fwmark = self._fwmark if config.fwmark is None else config.fwmark
        if config.replace_peers:
            for peer in list(self._state.peers.values()):
                self._state.remove_peer(peer)
        for change in config.peers:
            self._configure_peer(change, now=now)

    def forget(self) -> None:
        """Lose the private key, every peer with its keys, and whatever was to be sent under them."""
        self._state.key = None
        self._handshaking.key_changed()
        for peer in list(self._state.peers.values()):
            self._state.remove_peer(peer)
        self._state.outbox.take()

    def _set_private_key(self, private: bytes) -> None:
        state = self._state
        state.key = None if private == NO_KEY else StaticKey.of(private)
        self._handshaking.key_changed()
        for peer in list(state.peers.values()):
            state.forget_keys(peer)
            peer.initiated_at = float("-inf")  # the next packet may shake hands with the new key at once
            if state.key is not None and peer.public_key == state.key.public:
                state.remove_peer(peer)
            else:
                peer.static_static = state.static_static(peer.public_key)

    def _configure_peer(self, config: PeerConfig, *, now: float) -> None:
        state = self._state
        peer = state.peers.get(config.public_key)
        if config.remove:
            if peer is not None:
                state.remove_peer(peer)
            return
        if peer is None:
            ours = state.key is not None and config.public_key == state.key.public
            if config.update_only or ours or len(state.peers) >= MAX_PEERS:
                return
            peer = state.add_peer(config.public_key)
        keepalive_began = config.keepalive and not peer.keepalive
        peer.configure(config, now=now)
        self._configure_routes(peer, config)
        if peer.ended(now=now):
            self._end_lease(peer)
        elif keepalive_began and peer.endpoint is not None:
            self._transport.keepalive(peer, now=now)
        elif peer.staged:
            self._handshaking.initiate(peer, now=now)
        state.arm(peer)

    def _configure_routes(self, peer: Peer, config: PeerConfig) -> None:
        if config.replace_allowed_ips:
            self._state.clear_routes(peer)
        for network in config.allowed_ips_removed:
            self._state.remove_route(network, peer)
        for network in config.allowed_ips:
            self._state.add_route(network, peer)

    def status(self, *, now: float, listen_port: int | None = None) -> InterfaceStatus:
        """Show everything, counters included; the edge knows which port it listens on in the end."""
        state = self._state
        return InterfaceStatus(
            private_key=None if state.key is None else state.key.private,
            listen_port=self._listen_port if listen_port is None else listen_port,
            fwmark=self._fwmark,
            peers=tuple(peer.status(now=now) for peer in state.peers.values()),
            drops=dict(state.drops),
        )

    # traffic

    def send(self, frame: memoryview, *, now: float) -> list[Parts]:
        """Take one frame from the TUN. Give frames for it: answers to what is refused."""
        return self._transport.send(frame, now=now)

    def receive(self, train: memoryview, segment: int, source: Endpoint, *, now: float) -> list[Parts]:
        """Take one train from the network: datagrams of `segment` bytes, the last may be shorter. Give frames."""
        whole = TransportTrain.read(train, segment)
        if whole is not None:
            return self._transport.receive(whole, source, now=now)
        if 4 <= len(train) <= segment:  # alone, and no transport datagram: how a flood comes
            self._handshake_message(int.from_bytes(train[:4], "little"), train, source, now=now)
            return []
        frames: list[Parts] = []
        for datagram in _datagrams(train, segment):
            if (alone := TransportTrain.read(datagram, len(datagram))) is not None:
                frames += self._transport.receive(alone, source, now=now)
            else:
                self._handshake_message(int.from_bytes(datagram[:4], "little"), datagram, source, now=now)
        return frames

    def _handshake_message(self, kind: int, datagram: memoryview, source: Endpoint, *, now: float) -> None:
        if SIZES.get(kind) != len(datagram):
            self._state.drop(Drop.WRONG_LENGTH if kind in SIZES or kind == TRANSPORT else Drop.UNKNOWN_TYPE)
        elif kind == INITIATION:
            self._handshaking.on_initiation(datagram, source, now=now)
        elif kind == RESPONSE:
            peer = self._handshaking.on_response(datagram, source, now=now)
            if peer is not None:
                self._transport.roam(peer, source)
                peer.timers.received(peer.keepalive, now=now)
                self._transport.flush(peer, now=now)
        elif kind == COOKIE_REPLY:
            self._handshaking.on_cookie(datagram, now=now)

    def transmits(self) -> list[Transmit]:
        """Take what is to be sent, in order."""
        return self._state.outbox.take()

    @property
    def queued(self) -> int:
        """Bytes that `transmits` would give."""
        return self._state.outbox.size

    def count_drop(self, reason: Drop) -> None:
        """Count something that the edge had to drop."""
        self._state.drop(reason)

    def events(self) -> list[Event]:
        """Take what happened."""
        noted, self._state.events = self._state.events, []
        return noted

    # time

    def next_deadline(self) -> tuple[float, str] | None:
        """Give when `handle_deadline` is due, in boottime seconds, and what for."""
        deadline = self._state.next_deadline()
        return None if deadline is None else (deadline, "timer")

    def handle_deadline(self, *, now: float) -> list[Parts]:
        """Do what is due: retransmissions, keepalives, ends of leases and keys. Give the frames that waited for their turn."""
        frames: list[Parts] = []
        for peer in self._state.due_peers(now=now):
            for due in peer.timers.take_due(now=now):
                if due is Due.PACE and not peer.ended(now=now):
                    frames += self._transport.release(peer, now=now)
                else:
                    self._act(peer, due, now=now)
            self._state.arm(peer)
        return frames

    def _act(self, peer: Peer, due: Due, *, now: float) -> None:
        if due is Due.LEASE:
            self._end_lease(peer)
        elif peer.ended(now=now):
            return
        elif due is Due.RETRANSMIT:
            self._handshaking.retransmit(peer, now=now)
        elif due is Due.UNANSWERED:
            self._handshaking.initiate(peer, now=now)
        elif due in (Due.KEEPALIVE, Due.PERSISTENT):
            self._transport.keepalive(peer, now=now)
        elif due is Due.ZERO:
            self._state.forget_keys(peer)

    def _end_lease(self, peer: Peer) -> None:
        self._state.forget_keys(peer)
        peer.timers.stop()
        peer.stop_waiting()
        if not peer.lease_over:
            peer.lease_over = True
            self._state.note(Kind.LEASE_ENDED, peer)


def _datagrams(train: memoryview, segment: int) -> Iterator[memoryview]:
    for at in range(0, len(train), max(segment, 1)):
        yield train[at : at + segment]
