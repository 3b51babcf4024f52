"""Traffic: frames from the TUN to datagrams, trains from the network to frames, and every check in between."""

from __future__ import annotations

from ipaddress import ip_address

from gateway.packet import ip
from gateway.packet.checksum import Buffer
from gateway.packet.drop import Drop
from gateway.packet.ip import Header
from gateway.packet.offload import VIRTIO, Frame, Parts
from gateway.wireguard.config import Endpoint
from gateway.wireguard.events import Kind
from gateway.wireguard.handshaking import Handshaking
from gateway.wireguard.keypair import Keypair
from gateway.wireguard.peer import Peer
from gateway.wireguard.spec import KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_AFTER_TIME, REKEY_TIMEOUT
from gateway.wireguard.state import State
from gateway.wireguard.transforms import Sealed, open_, seal, seal_empty

DENIAL_INTERVAL = 0.1
"""Seconds between two events about denied flows of one peer."""
REKEY_ON_RECEIVE = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT


class Transport:
    """Moves trains. The permits, allowed IPs and leases are asked for every packet, in both directions."""

    def __init__(self, state: State, handshaking: Handshaking) -> None:
        self._state = state
        self._handshaking = handshaking

    # out

    def send(self, frame: memoryview, *, now: float) -> None:
        """Send one frame of the TUN to the peer that its destination belongs to."""
        state = self._state
        packet = frame[VIRTIO.size :]
        header = ip.parse(packet)
        if header is None:
            state.drop(Drop.MALFORMED_PACKET)
            return
        peer = state.routes.longest(header.destination)
        if peer is None:
            state.drop(Drop.NO_ROUTE)
            return
        reason = self._refusal(peer, packet, header, now=now)
        if reason is not None:
            state.drop(reason, peer)
        elif not self._seal(peer, frame, now=now):
            if not peer.stage(bytes(frame)):
                state.drop(Drop.QUEUE_FULL, peer)
            self._handshaking.initiate(peer, now=now)

    def _refusal(self, peer: Peer, packet: Buffer, header: Header, *, now: float) -> Drop | None:
        if peer.ended(now=now):
            return Drop.LEASE_ENDED
        if peer.flows is not None:
            reason = peer.flows.to_peer(packet, header, now=now)
            if reason is not None:
                return reason
        return None if peer.rate_tx.allow(len(packet), now=now) else Drop.RATE_EXCEEDED

    def _seal(self, peer: Peer, frame: Buffer, *, now: float) -> bool:
        pair = self._usable(peer, now=now)
        if pair is None:
            return False
        sealed = seal(pair.sending, pair.remote, pair.counter, frame, self._state.mtu)
        if not sealed.count:
            self._state.drop(Drop.MALFORMED_PACKET, peer)
            return True
        peer.timers.data_sent(self._state.jitter() if peer.timers.unanswered == float("inf") else 0.0, now=now)
        self._transmit(peer, pair, sealed, now=now)
        return True

    def _usable(self, peer: Peer, *, now: float) -> Keypair | None:
        pair = peer.current
        usable = pair is not None and peer.endpoint is not None and pair.can_send(now=now) and not peer.ended(now=now)
        return pair if usable else None

    def keepalive(self, peer: Peer, *, now: float) -> None:
        """Send an empty datagram, or begin a handshake if there are no keys for it."""
        pair = self._usable(peer, now=now)
        if pair is None:
            self._handshaking.initiate(peer, now=now)
        else:
            self._transmit(peer, pair, seal_empty(pair.sending, pair.remote, pair.counter), now=now)

    def flush(self, peer: Peer, *, now: float) -> None:
        """Send what waited for keys; the initiator sends at least an empty datagram, which confirms the keys."""
        while peer.staged and self._usable(peer, now=now) is not None:
            frame = memoryview(peer.staged.popleft())
            packet = frame[VIRTIO.size :]
            header = ip.parse(packet)
            # The permits may have changed while it waited.
            reason = Drop.MALFORMED_PACKET if header is None else self._refusal(peer, packet, header, now=now)
            if reason is None:
                self._seal(peer, frame, now=now)
            else:
                self._state.drop(reason, peer)
        if peer.current is not None and peer.current.is_initiator and not peer.current.counter:
            self.keepalive(peer, now=now)

    def _transmit(self, peer: Peer, pair: Keypair, sealed: Sealed, *, now: float) -> None:
        assert peer.endpoint is not None
        pair.take(sealed.count)
        self._state.transmit(peer.endpoint, sealed.buffers, sealed.segment)
        peer.tx_bytes += sum(len(buffer) for buffer in sealed.buffers)
        peer.timers.sent(peer.keepalive, now=now)
        if pair.wants_rekey(REKEY_AFTER_TIME, now=now):
            self._handshaking.initiate(peer, now=now)
        self._state.arm(peer)

    # in

    def receive(self, datagrams: list[memoryview], source: Endpoint, *, now: float) -> list[Parts]:
        """Open transport datagrams that name the same index; give the frames for the TUN."""
        state = self._state
        slot = state.slots.get(int.from_bytes(datagrams[0][4:8], "little"))
        if slot is None or slot.keypair is None:
            state.drop(Drop.UNKNOWN_INDEX, times=len(datagrams))
            return []
        peer, pair = slot.peer, slot.keypair
        if peer.ended(now=now):
            state.drop(Drop.LEASE_ENDED, peer, len(datagrams))
            return []
        if not pair.can_receive(now=now):
            state.drop(Drop.KEYPAIR_EXPIRED, peer, len(datagrams))
            return []
        frames: list[Parts] = []
        for run in self._fresh_runs(peer, pair, datagrams):
            frames += self._open(peer, pair, run, source, now=now)
        return frames

    def _fresh_runs(self, peer: Peer, pair: Keypair, datagrams: list[memoryview]) -> list[list[memoryview]]:
        """Leave out counters that were received before. A counter that comes twice in one train starts a new run.

        So a forged copy in front cannot displace the true one: which of them is true shows only when they are opened.
        """
        runs: list[list[memoryview]] = [[]]
        seen: set[int] = set()
        for datagram in datagrams:
            counter = int.from_bytes(datagram[8:16], "little")
            if not pair.window.fresh(counter):
                self._state.drop(Drop.COUNTER_REPLAYED, peer)
                continue
            if counter in seen:
                runs.append([])
                seen.clear()
            seen.add(counter)
            runs[-1].append(datagram)
        return runs

    def _open(
        self, peer: Peer, pair: Keypair, datagrams: list[memoryview], source: Endpoint, *, now: float
    ) -> list[Parts]:
        state = self._state
        datagrams = [d for d in datagrams if self._still_fresh(peer, pair, d)]
        if not datagrams:
            return []
        opened = open_(pair.receiving, datagrams, udp=state.udp_offload)
        authentic = [d for d, sound in zip(datagrams, opened.authentic, strict=True) if sound]
        state.drop(Drop.TRANSPORT_FORGED, peer, len(datagrams) - len(authentic))
        if not authentic:
            return []
        for datagram in authentic:
            pair.window.accept(int.from_bytes(datagram[8:16], "little"))
            peer.rx_bytes += len(datagram)
        state.drop(Drop.MALFORMED_PACKET, peer, opened.malformed)
        self._authenticated(peer, pair, source, has_data=bool(opened.frames), now=now)
        return [frame.parts for frame in opened.frames if self._passes(peer, frame, now=now)]

    def _still_fresh(self, peer: Peer, pair: Keypair, datagram: memoryview) -> bool:
        fresh = pair.window.fresh(int.from_bytes(datagram[8:16], "little"))
        if not fresh:
            self._state.drop(Drop.COUNTER_REPLAYED, peer)
        return fresh

    def _authenticated(self, peer: Peer, pair: Keypair, source: Endpoint, *, has_data: bool, now: float) -> None:
        state = self._state
        self.roam(peer, source)
        peer.timers.received(peer.keepalive, now=now)
        if has_data:
            peer.timers.data_received(now=now)
        if pair is peer.next:
            self._handshaking.confirmed(peer, now=now)
        if pair is peer.current:
            self.flush(peer, now=now)
            if pair.is_initiator and now - pair.created_at >= REKEY_ON_RECEIVE:
                self._handshaking.initiate(peer, now=now)
        state.arm(peer)

    def roam(self, peer: Peer, source: Endpoint) -> None:
        """Follow the peer to where its last authenticated datagram came from."""
        if peer.endpoint != source:
            peer.endpoint = source
            self._state.note(Kind.ENDPOINT, peer, f"endpoint={source[0]} port={source[1]}")

    def _passes(self, peer: Peer, frame: Frame, *, now: float) -> bool:
        """Judge a frame by its first packet: the others in it have the same addresses and ports."""
        state = self._state
        header = ip.parse(frame.first)
        if header is None:
            state.drop(Drop.MALFORMED_PACKET, peer)
            return False
        if state.routes.longest(header.source) is not peer:
            state.drop(Drop.SOURCE_NOT_ALLOWED, peer)
            return False
        if peer.flows is not None:
            reason = peer.flows.from_peer(frame.first, header, now=now)
            if reason is not None:
                state.drop(reason, peer)
                self._denied(peer, frame.first, header, now=now)
                return False
        if not peer.rate_rx.allow(sum(len(part) for part in frame.parts), now=now):
            state.drop(Drop.RATE_EXCEEDED, peer)
            return False
        return True

    def _denied(self, peer: Peer, packet: Buffer, header: Header, *, now: float) -> None:
        if now - peer.denied_at < DENIAL_INTERVAL:
            return
        peer.denied_at = now
        _, port = ip.ports(packet, header)
        detail = f"destination={ip_address(header.destination)} protocol={header.protocol} port={port}"
        self._state.note(Kind.DENIED_FLOW, peer, detail)
