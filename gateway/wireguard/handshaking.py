"""The handshakes of an interface: when to begin one, whom to answer, and what both lead to."""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address

from gateway.packet.drop import Drop
from gateway.wireguard import noise
from gateway.wireguard.config import Endpoint
from gateway.wireguard.cookie import CookieChecker
from gateway.wireguard.events import Kind
from gateway.wireguard.keypair import Keypair
from gateway.wireguard.messages import CookieReply, Initiation, Response
from gateway.wireguard.noise import HandshakeError, TransportKeys
from gateway.wireguard.peer import Peer
from gateway.wireguard.ratelimit import Acquaintances, CookieLimiter, HandshakeLimiter, Load
from gateway.wireguard.spec import HANDSHAKE_INTERVAL, REKEY_TIMEOUT, TIMESTAMP_GRAIN
from gateway.wireguard.state import Slot, State
from gateway.wireguard.timers import MAX_ATTEMPTS

TAI64_BASE = 0x400000000000000A
"""TAI64 label of the Unix epoch, with the ten leap seconds of 1972."""


def tai64n(unix_time: float) -> bytes:
    """Give the 12-byte TAI64N label of a Unix time in seconds, cut to the paper's grain."""
    seconds, fraction = divmod(unix_time, 1)
    nanoseconds = int(fraction * 1e9) & ~(TIMESTAMP_GRAIN - 1)
    return struct.pack(">QI", TAI64_BASE + int(seconds), nanoseconds)


class Handshaking:
    """Both roles. Whatever arrives, nothing is raised: it is answered, or counted as a drop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._checker: CookieChecker | None = None
        self._limiter = HandshakeLimiter()
        self._load = Load()
        self._acquaintances = Acquaintances()
        self._cookies = CookieLimiter()

    def key_changed(self) -> None:
        key = self._state.key
        self._checker = None if key is None else CookieChecker(key.public, self._state.entropy)

    # initiator

    def initiate(self, peer: Peer, *, now: float, retry: bool = False) -> None:
        """Send an initiation, unless one went out a moment ago or the peer cannot have one."""
        state = self._state
        if not retry:
            peer.attempts = 0
        if state.key is None or peer.static_static is None or peer.ended(now=now):
            return
        if peer.endpoint is None:
            state.drop(Drop.NO_ENDPOINT, peer)
            return
        if now - peer.initiated_at < REKEY_TIMEOUT:
            return
        peer.initiated_at = now
        state.forget_handshake(peer)
        peer.handshake_index = state.new_index(Slot(peer, None))
        peer.handshake, message = noise.initiate(
            state.key,
            peer.public_key,
            peer.static_static,
            sender=peer.handshake_index,
            timestamp=tai64n(state.unix_offset + now),
            ephemeral=state.entropy(32),
        )
        self._send(peer, peer.endpoint, message.pack(), now=now)
        peer.timers.retransmit = now + REKEY_TIMEOUT + state.jitter()
        peer.timers.passed(peer.keepalive, now=now)
        state.arm(peer)

    def retransmit(self, peer: Peer, *, now: float) -> None:
        """Try again, or give up after 90 seconds: what waited is dropped, and the next packet starts over."""
        if peer.attempts >= MAX_ATTEMPTS:
            self._state.drop(Drop.QUEUE_FULL, peer, len(peer.staged))
            peer.staged.clear()
            self._state.forget_handshake(peer)
            return
        peer.attempts += 1
        peer.initiated_at = float("-inf")
        self.initiate(peer, now=now, retry=True)

    def on_response(self, datagram: memoryview, source: Endpoint, *, now: float) -> Peer | None:
        """Take a response to our initiation; the peer when it led to keys."""
        state = self._state
        if not self._admits(datagram, source, now=now):
            return None
        message = Response.unpack(datagram)
        slot = state.slots.get(message.receiver)
        handshake = None if slot is None or slot.keypair is not None else slot.peer.handshake
        if slot is None or handshake is None or state.key is None:
            state.drop(Drop.UNKNOWN_INDEX)
            return None
        peer = slot.peer
        if peer.ended(now=now):
            state.drop(Drop.LEASE_ENDED, peer)
            return None
        try:
            keys = noise.finish(state.key, handshake, peer.preshared, message)
        except HandshakeError:
            state.drop(Drop.HANDSHAKE_FORGED, peer)
            return None
        peer.handshake = None
        pair = self._keypair(keys, peer.handshake_index, message.sender, is_initiator=True, now=now)
        state.slots[pair.local] = Slot(peer, pair)
        self._rotate(peer, pair)
        peer.rx_bytes += len(datagram)
        self.completed(peer, now=now)
        return peer

    def _rotate(self, peer: Peer, pair: Keypair) -> None:
        """Begin to use an initiator's new keypair. What the peer may still be sending under stays as the previous one."""
        self._state.forget_keypair(peer.previous)
        if peer.next is None:
            peer.previous = peer.current
        else:
            self._state.forget_keypair(peer.current)
            peer.previous, peer.next = peer.next, None
        peer.current = pair

    def on_cookie(self, datagram: memoryview, *, now: float) -> None:
        """Keep a cookie for the next initiation or response."""
        state = self._state
        reply = CookieReply.unpack(datagram)
        slot = state.slots.get(reply.receiver)
        if slot is None:
            state.drop(Drop.UNKNOWN_INDEX)
        elif not slot.peer.jar.take(reply, now=now):
            state.drop(Drop.COOKIE_FORGED, slot.peer)

    # responder

    def on_initiation(self, datagram: memoryview, source: Endpoint, *, now: float) -> None:
        """Answer an initiation. It moves nothing else: the endpoint waits for the first transport packet."""
        state = self._state
        if not self._admits(datagram, source, now=now) or state.key is None:
            return
        message = Initiation.unpack(datagram)
        try:
            static, transcript = noise.peek(state.key, message)
        except HandshakeError:
            state.drop(Drop.HANDSHAKE_FORGED)
            return
        peer = state.peers.get(static)
        if peer is None or peer.static_static is None:
            state.drop(Drop.UNKNOWN_PEER)
            return
        if peer.ended(now=now):
            state.drop(Drop.LEASE_ENDED, peer)
            return
        try:
            consumed = noise.consume(static, transcript, peer.static_static, message)
        except HandshakeError:
            state.drop(Drop.HANDSHAKE_FORGED, peer)
            return
        if consumed.timestamp <= state.timestamps.latest(static):
            state.drop(Drop.HANDSHAKE_REPLAYED, peer)
        elif now - peer.consumed_at < HANDSHAKE_INTERVAL:
            state.drop(Drop.HANDSHAKE_FLOOD, peer)
        else:
            state.timestamps.note(static, consumed.timestamp)
            peer.consumed_at = now
            self._respond(peer, consumed, source, heard=len(datagram), now=now)

    def _respond(self, peer: Peer, consumed: noise.Consumed, source: Endpoint, *, heard: int, now: float) -> None:
        state = self._state
        index = state.new_index(Slot(peer, None))
        try:
            keys, response = noise.respond(consumed, peer.preshared, sender=index, ephemeral=state.entropy(32))
        except HandshakeError:
            del state.slots[index]
            state.drop(Drop.HANDSHAKE_FORGED, peer)
            return
        pair = self._keypair(keys, index, consumed.sender, is_initiator=False, now=now)
        state.slots[index] = Slot(peer, pair)
        state.forget_keypair(peer.next)
        state.forget_keypair(peer.previous)
        peer.previous, peer.next = None, pair
        datagram = peer.jar.sign(response.pack(), now=now)
        # The initiation may be a copy from somewhere else: until a transport packet shows who is there, nothing moves.
        pair.heard, pair.said = heard, len(datagram)
        state.outbox.put(source, datagram, len(datagram))
        peer.timers.passed(peer.keepalive, now=now)
        peer.timers.keys_derived(now=now)
        state.arm(peer)

    def confirmed(self, peer: Peer, *, now: float) -> None:
        """Make the next keypair the current one: the initiator has used it, so it has it."""
        self._state.forget_keypair(peer.previous)
        assert peer.next is not None
        peer.rx_bytes += peer.next.heard
        peer.tx_bytes += peer.next.said
        peer.previous, peer.current, peer.next = peer.current, peer.next, None
        self.completed(peer, now=now)

    # both

    def completed(self, peer: Peer, *, now: float) -> None:
        peer.timers.retransmit = float("inf")
        peer.timers.keys_derived(now=now)
        peer.attempts = 0
        peer.jitter = self._state.jitter()
        peer.last_handshake = self._state.unix_offset + now
        self._state.arm(peer)
        self._state.note(Kind.HANDSHAKE, peer)

    def _keypair(self, keys: TransportKeys, local: int, remote: int, *, is_initiator: bool, now: float) -> Keypair:
        make = self._state.transforms.key
        return Keypair(make(keys.send), make(keys.receive), local, remote, now, is_initiator)

    def _admits(self, datagram: memoryview, source: Endpoint, *, now: float) -> bool:
        """Check mac1, and under load the cookie and the source's share, before any Diffie-Hellman."""
        state, checker = self._state, self._checker
        if checker is None or not checker.mac1_holds(datagram):
            state.drop(Drop.WRONG_MAC1)
            return False
        if not self._load.arrived(now=now):
            return True
        address, port = source_bytes(source)
        if not checker.mac2_holds(datagram, address + port, now=now) and not self._is_known(address, now=now):
            if not self._cookies.allow(now=now):
                state.drop(Drop.HANDSHAKE_RATE)
                return False
            sender = int.from_bytes(datagram[4:8], "little")
            reply = checker.reply(datagram, address + port, sender, now=now)
            state.outbox.put(source, reply, len(reply))
            state.drop(Drop.COOKIE_REQUIRED)
            return False
        if not self._limiter.allow(address, now=now):
            state.drop(Drop.HANDSHAKE_RATE)
            return False
        return True

    def _is_known(self, address: bytes, *, now: float) -> bool:
        """Say whether a session was authenticated from there. Its client need not wait 5 seconds to send its cookie."""
        if self._acquaintances.stale(now=now):
            peers = (each for each in self._state.peers.values() if each.endpoint is not None and each.last_handshake)
            self._acquaintances.renew({source_bytes(each.endpoint)[0] for each in peers if each.endpoint}, now=now)
        return self._acquaintances.allow(address)

    def _send(self, peer: Peer, endpoint: Endpoint, message: bytes, *, now: float) -> None:
        datagram = peer.jar.sign(message, now=now)
        peer.tx_bytes += len(datagram)
        self._state.outbox.put(endpoint, datagram, len(datagram))


@lru_cache(maxsize=4096)
@lru_cache(maxsize=4096)
def source_bytes(source: Endpoint) -> tuple[bytes, bytes]:
    """Give address (4 or 16 bytes) and port (2 bytes) of a socket address."""
    port = source[1].to_bytes(2, "big")
    if len(source) == 2:  # by hand, because a flood comes from a new address every time
        return bytes(map(int, source[0].split("."))), port
    return ip_address(source[0].partition("%")[0]).packed, port
