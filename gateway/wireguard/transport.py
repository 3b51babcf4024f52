"""Traffic: frames from the TUN to datagrams, trains from the network to frames, and every check in between."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import compress

from gateway.packet import ip, refusal, syn
from gateway.packet.checksum import Buffer
from gateway.packet.drop import Drop
from gateway.packet.ip import Header
from gateway.packet.offload import PLAIN, VIRTIO, Parts
from gateway.wireguard.config import Endpoint
from gateway.wireguard.events import Kind
from gateway.wireguard.handshaking import Handshaking, source_bytes
from gateway.wireguard.keypair import Keypair
from gateway.wireguard.messages import TransportTrain
from gateway.wireguard.peer import Peer
from gateway.wireguard.spec import KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_AFTER_TIME, REKEY_TIMEOUT
from gateway.wireguard.state import State
from gateway.wireguard.timers import NEVER
from gateway.wireguard.transforms import Sealed

DENIAL_INTERVAL = 0.1
"""Seconds between two events about denied flows of one peer."""
SYN_INTERVAL = 1.0
"""Seconds between two events about connections that one peer begins: a sample tells its system as well as all of them."""
REFUSALS = frozenset({Drop.NOT_PERMITTED, Drop.NO_FLOW})
"""What an honest sender is told about. What is forged, late or too much is not answered."""
REKEY_ON_RECEIVE = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT


class Transport:
    """Moves trains. The permits, allowed IPs and leases are asked for every packet, in both directions."""

    def __init__(self, state: State, handshaking: Handshaking) -> None:
        self._state = state
        self._handshaking = handshaking

    # out

    def send(self, frame: memoryview, *, now: float) -> list[Parts]:
        """Send one frame of the TUN to the peer that its destination belongs to. Give answers for the TUN, if any."""
        state = self._state
        packet = frame[VIRTIO.size :]
        header = ip.parse(packet)
        if header is None:
            state.drop(Drop.MALFORMED_PACKET)
            return []
        peer = state.routes.longest(header.destination)
        if peer is None:
            state.drop(Drop.NO_ROUTE)
            return []
        reason = self._refusal(peer, packet, header, now=now)
        if reason is not None:
            state.drop(reason, peer)
            return self._answers(peer, packet, header, reason, towards_peer=True, now=now)
        pace = peer.pace_tx
        if pace is None or pace.admit(len(packet), now=now):
            self._seal_or_stage(peer, frame, now=now)
        else:
            self._held(peer, pace.hold(bytes(frame), len(packet), now=now))
        return []

    def _seal_or_stage(self, peer: Peer, frame: Buffer, *, now: float) -> None:
        if self._seal(peer, frame, now=now):
            return
        if not peer.stage(bytes(frame)):
            self._state.drop(Drop.QUEUE_FULL, peer)
        self._handshaking.initiate(peer, now=now)

    def _held(self, peer: Peer, waits: bool) -> None:
        if not waits:
            self._state.drop(Drop.RATE_EXCEEDED, peer)
        elif peer.timers.pace == NEVER:
            peer.plan_paces()
            self._state.arm(peer)

    def release(self, peer: Peer, *, now: float) -> list[Parts]:
        """Pass on what has waited for its turn, unless it may not pass any more. Give the frames for the TUN."""
        frames: list[Parts] = []
        for frame in [] if peer.pace_tx is None else peer.pace_tx.due(now=now):
            self._pass_on(peer, frame, now=now)
        for first, parts in [] if peer.pace_rx is None else peer.pace_rx.due(now=now):
            frames += self._admitted(peer, first, parts, now=now)
        peer.plan_paces()
        return frames

    def _pass_on(self, peer: Peer, frame: bytes, *, now: float) -> None:
        """Send a frame that waited: the permits may have changed meanwhile."""
        packet = memoryview(frame)[VIRTIO.size :]
        header = ip.parse(packet)
        reason = Drop.MALFORMED_PACKET if header is None else self._refusal(peer, packet, header, now=now)
        if reason is None:
            self._seal_or_stage(peer, frame, now=now)
        else:
            self._state.drop(reason, peer)

    def _answers(
        self, peer: Peer, packet: Buffer, header: Header, reason: Drop, *, towards_peer: bool, now: float
    ) -> list[Parts]:
        """Tell the ends of a refused packet: the peer's by the tunnel, the other one by the frames that this gives."""
        if peer.flows is None or reason not in REFUSALS:
            return []
        if peer.flows.take_cut(packet, header, towards_peer=towards_peer):
            both = refusal.resets(packet, header)
            to_sender, to_receiver = both if both is not None else (None, None)
        elif peer.answers.allow(now=now):
            to_sender, to_receiver = refusal.prohibited(packet, header), None
        else:
            return []
        to_peer, to_tun = (to_receiver, to_sender) if towards_peer else (to_sender, to_receiver)
        if to_peer is not None:
            self._seal(peer, PLAIN + to_peer, now=now)
        return [] if to_tun is None else [[PLAIN, to_tun]]

    def _refusal(self, peer: Peer, packet: Buffer, header: Header, *, now: float) -> Drop | None:
        if peer.ended(now=now):
            return Drop.LEASE_ENDED
        if header.protocol == ip.UDP and _is_our_own(peer, packet, header):
            return Drop.ROUTING_LOOP
        if peer.flows is not None:
            reason = peer.flows.to_peer(packet, header, now=now)
            if reason is not None:
                return reason
        return None

    def _seal(self, peer: Peer, frame: Buffer, *, now: float) -> bool:
        pair = self._usable(peer, now=now)
        if pair is None:
            return False
        sealed = self._state.transforms.seal(pair.sending, pair.remote, pair.counter, frame, self._state.mtu)
        if not sealed.datagrams:
            self._state.drop(Drop.MALFORMED_PACKET, peer)
            return True
        peer.timers.data_sent(peer.jitter, now=now)
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
            sealed = self._state.transforms.seal_empty(pair.sending, pair.remote, pair.counter)
            self._transmit(peer, pair, sealed, now=now)

    def flush(self, peer: Peer, *, now: float) -> None:
        """Send what waited for keys; the initiator sends at least an empty datagram, which confirms the keys."""
        while peer.staged and self._usable(peer, now=now) is not None:
            self._pass_on(peer, peer.staged.popleft(), now=now)
        if peer.current is not None and peer.current.is_initiator and not peer.current.counter:
            self.keepalive(peer, now=now)

    def _transmit(self, peer: Peer, pair: Keypair, sealed: Sealed, *, now: float) -> None:
        assert peer.endpoint is not None
        pair.take(sealed.datagrams)
        self._state.outbox.put(peer.endpoint, sealed.train, sealed.segment)
        peer.tx_bytes += len(sealed.train)
        peer.timers.sent(peer.keepalive, now=now)
        if pair.wants_rekey(REKEY_AFTER_TIME, now=now):
            self._handshaking.initiate(peer, now=now)
        self._state.arm_after_traffic(peer, now=now)

    # in

    def receive(self, train: TransportTrain, source: Endpoint, *, now: float) -> list[Parts]:
        """Open a train; give the frames for the TUN."""
        state, count = self._state, len(train.counters)
        slot = state.slots.get(train.receiver)
        if slot is None or slot.keypair is None:
            state.drop(Drop.UNKNOWN_INDEX, times=count)
            return []
        peer, pair = slot.peer, slot.keypair
        if peer.ended(now=now):
            state.drop(Drop.LEASE_ENDED, peer, count)
            return []
        if not pair.can_receive(now=now):
            state.drop(Drop.KEYPAIR_EXPIRED, peer, count)
            return []
        if pair.window.ahead(train.counters):
            return self._open(peer, pair, train, source, now=now)
        return self._open_singly(peer, pair, train, source, now=now)

    def _open_singly(
        self, peer: Peer, pair: Keypair, train: TransportTrain, source: Endpoint, *, now: float
    ) -> list[Parts]:
        """Open datagrams that came late, twice or out of order one by one.

        So a forged copy in front cannot displace the true one: which of them is true shows only when they are opened.
        """
        frames: list[Parts] = []
        for at, counter in enumerate(train.counters):
            if pair.window.fresh(counter):
                frames += self._open(peer, pair, train.alone(at), source, now=now)
            else:
                self._state.drop(Drop.COUNTER_REPLAYED, peer)
        return frames

    def _open(self, peer: Peer, pair: Keypair, train: TransportTrain, source: Endpoint, *, now: float) -> list[Parts]:
        """Open datagrams whose counters are fresh and distinct."""
        state = self._state
        opened = state.transforms.open_(pair.receiving, train.view, train.segment, udp=state.udp_offload)
        authentic, forged = train.counters, 0
        if False in opened.authentic:
            authentic = list(compress(train.counters, opened.authentic))
            forged = len(train.counters) - len(authentic)
            state.drop(Drop.TRANSPORT_FORGED, peer, forged)
            if not authentic:
                return []
        pair.window.accept_all(authentic)
        peer.rx_bytes += len(train.view) - forged * train.segment
        if opened.malformed:
            state.drop(Drop.MALFORMED_PACKET, peer, opened.malformed)
        self._authenticated(peer, pair, source, has_data=bool(opened.frames), now=now)
        frames: list[Parts] = []
        for first, parts in opened.frames:
            frames += self._judged(peer, first, parts, now=now)
        return frames

    def _authenticated(self, peer: Peer, pair: Keypair, source: Endpoint, *, has_data: bool, now: float) -> None:
        state = self._state
        if peer.endpoint != source:
            self.roam(peer, source)
        peer.timers.received(peer.keepalive, now=now)
        if has_data:
            peer.timers.data_received(now=now)
        if pair is peer.next:
            self._handshaking.confirmed(peer, now=now)
        if pair is peer.current:
            if peer.staged or (pair.is_initiator and not pair.counter):
                self.flush(peer, now=now)
            if pair.is_initiator and now - pair.created_at >= REKEY_ON_RECEIVE:
                self._handshaking.initiate(peer, now=now)
        state.arm_after_traffic(peer, now=now)

    def roam(self, peer: Peer, source: Endpoint) -> None:
        """Follow the peer to where its last authenticated datagram came from."""
        if peer.endpoint != source:
            peer.endpoint = source
            self._state.note(Kind.ENDPOINT, peer, f"endpoint={source[0]} port={source[1]}")

    def _judged(self, peer: Peer, first: Buffer, parts: Parts, *, now: float) -> list[Parts]:
        """Judge a frame, and hold it to the peer's rate. Give what the TUN gets now."""
        frames, pace = self._admitted(peer, first, parts, now=now), peer.pace_rx
        if not frames or pace is None:
            return frames
        size = sum(map(len, parts)) - VIRTIO.size
        if parts is not frames[0] or pace.admit(size, now=now):
            return frames
        self._held(peer, pace.hold((first, parts), size, now=now))
        return []

    def _admitted(self, peer: Peer, first: Buffer, parts: Parts, *, now: float) -> list[Parts]:
        """Judge a frame by its first packet: the others in it have the same addresses and ports."""
        state = self._state
        header = ip.parse(first)
        if header is None:
            state.drop(Drop.MALFORMED_PACKET, peer)
            return []
        if state.routes.longest(header.source) is not peer:
            state.drop(Drop.SOURCE_NOT_ALLOWED, peer)
            return []
        if peer.flows is not None:
            reason = peer.flows.from_peer(first, header, now=now)
            if reason is not None:
                state.drop(reason, peer)
                self._denied(peer, first, header, now=now)
                return self._answers(peer, first, header, reason, towards_peer=False, now=now)
            if header.protocol == ip.TCP and now - peer.syn_at >= SYN_INTERVAL and syn.is_syn(first, header):
                peer.syn_at = now
                detail = f"destination={ip_address(header.destination)} fingerprint={syn.fingerprint(first, header)}"
                state.note(Kind.SYN, peer, detail)
        return [parts]

    def _denied(self, peer: Peer, packet: Buffer, header: Header, *, now: float) -> None:
        if now - peer.denied_at < DENIAL_INTERVAL:
            return
        peer.denied_at = now
        _, port = ip.ports(packet, header)
        detail = f"destination={ip_address(header.destination)} protocol={header.protocol} port={port}"
        self._state.note(Kind.DENIED_FLOW, peer, detail)


def _is_our_own(peer: Peer, packet: Buffer, header: Header) -> bool:
    """Say whether a packet for the peer goes to where its tunnel ends: a datagram of ours whose route leads back to us.

    Each turn would make it larger, and from the MTU on two of it.
    """
    if peer.endpoint is None:
        return False
    address, port = source_bytes(peer.endpoint)
    if header.destination != address:
        return False
    return header.later or packet[header.offset + 2 : header.offset + 4] == port
