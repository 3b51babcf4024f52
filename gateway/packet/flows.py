"""The flows of one peer: what it was permitted to begin, so that answers pass and nothing else does.

A flow begins with a packet of the peer that a permit allows. When the permits change, flows that they no longer allow
are forgotten, and the next packet of either side is refused: this is what cuts an established connection.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.packet import ip
from gateway.packet.checksum import Buffer
from gateway.packet.drop import Drop
from gateway.packet.ip import Header
from gateway.packet.permits import Permits

MAX_FLOWS = 4096
MAX_FRAGMENTED = 64
MAX_CUT = 1024
"""Cut flows whose ends are still to be told."""
IDLE = {ip.TCP: 7440.0, ip.UDP: 180.0}
IDLE_OTHER = 60.0
"""Seconds without a packet until a flow is forgotten: RFC 5382 asks for 2 h 4 min for TCP; UDP longer than RFC 4787's 2 min."""

ICMP_ERRORS = frozenset({3, 11, 12})
ICMPV6_ERRORS = frozenset({1, 2, 3, 4})
ECHO = {(ip.ICMP, 8), (ip.ICMPV6, 128)}
ECHO_REPLY = {(ip.ICMP, 0), (ip.ICMPV6, 129)}


class Flow(NamedTuple):
    """Both ends as the peer sees them. For an ICMP echo both ports are its identifier."""

    protocol: int
    near: bytes
    far: bytes
    near_port: int
    far_port: int


class Flows:
    """Permits and flows of one peer. Every packet passes here, in both directions."""

    def __init__(self, permits: Permits) -> None:
        self.permits = permits
        self._last: dict[Flow, float] = {}
        self._cut: dict[Flow, None] = {}
        self._fragments: dict[tuple[bytes, bytes, bytes], None] = {}

    def __len__(self) -> int:
        return len(self._last)

    def replace(self, permits: Permits) -> None:
        """Take a new set of permits; it rules the next packet of every flow."""
        self.permits = permits
        cut = [flow for flow in self._last if not self._permitted(flow)]
        for flow in cut:
            del self._last[flow]
        self._cut = dict.fromkeys(
            flow for flow in (*self._cut, *cut) if flow.protocol == ip.TCP and not self._permitted(flow)
        )
        for flow in list(self._cut)[:-MAX_CUT]:
            del self._cut[flow]
        self._fragments.clear()

    def take_cut(self, packet: Buffer, header: Header, *, towards_peer: bool) -> bool:
        """Say whether a refused packet is of an established TCP flow that a change of permits has cut; true once per flow."""
        if header.protocol != ip.TCP or header.later:
            return False
        flow = _flow(packet, header, towards_peer=towards_peer)
        known = flow in self._cut
        self._cut.pop(flow, None)
        return known

    def from_peer(self, packet: Buffer, header: Header, *, now: float) -> Drop | None:
        """Judge a packet that the peer sends; None lets it pass."""
        if header.routed:
            return Drop.NOT_PERMITTED
        if header.later:
            return None if self._known_fragment(header) else Drop.NOT_PERMITTED
        if _is_icmp_error(packet, header):
            quoted = _quoted(packet, header)
            known = quoted is not None and self._alive(_flow(*quoted, towards_peer=True), now=now)
            return None if known else Drop.NO_FLOW
        flow = _flow(packet, header, towards_peer=False)
        if flow not in self._last and not self._permitted(flow):
            return Drop.NOT_PERMITTED
        self._touch(flow, header, now=now)
        return None

    def to_peer(self, packet: Buffer, header: Header, *, now: float) -> Drop | None:
        """Judge a packet for the peer: only what belongs to a flow that the peer began passes."""
        if header.later:
            return None if self._known_fragment(header) else Drop.NO_FLOW
        if _is_icmp_error(packet, header):
            quoted = _quoted(packet, header)
            known = quoted is not None and self._alive(_flow(*quoted, towards_peer=False), now=now)
            return None if known else Drop.NO_FLOW
        flow = _flow(packet, header, towards_peer=True)
        if not self._alive(flow, now=now):
            return Drop.NO_FLOW
        self._touch(flow, header, now=now)
        return None

    def _permitted(self, flow: Flow) -> bool:
        return self.permits.allow(flow.far, flow.protocol, flow.far_port)

    def _alive(self, flow: Flow, *, now: float) -> bool:
        last = self._last.get(flow)
        return last is not None and now - last < IDLE.get(flow.protocol, IDLE_OTHER)

    def _touch(self, flow: Flow, header: Header, *, now: float) -> None:
        # Re-insertion keeps the dictionary in order of use, so that the first is the one to forget.
        self._last.pop(flow, None)
        self._last[flow] = now
        if len(self._last) > MAX_FLOWS:
            del self._last[next(iter(self._last))]
        if header.identification is not None:
            self._fragments[header.source, header.destination, header.identification] = None
            if len(self._fragments) > MAX_FRAGMENTED:
                del self._fragments[next(iter(self._fragments))]

    def _known_fragment(self, header: Header) -> bool:
        return (header.source, header.destination, header.identification) in self._fragments


def _flow(packet: Buffer, header: Header, *, towards_peer: bool) -> Flow:
    source_port, destination_port = _ends(packet, header)
    if towards_peer:
        return Flow(header.protocol, header.destination, header.source, destination_port, source_port)
    return Flow(header.protocol, header.source, header.destination, source_port, destination_port)


def _ends(packet: Buffer, header: Header) -> tuple[int, int]:
    if header.protocol in (ip.ICMP, ip.ICMPV6):
        at = header.offset
        if (header.protocol, packet[at]) in ECHO | ECHO_REPLY:
            identifier = packet[at + 4] << 8 | packet[at + 5]
            return identifier, identifier
    return ip.ports(packet, header)


def _is_icmp_error(packet: Buffer, header: Header) -> bool:
    if header.protocol == ip.ICMP:
        return packet[header.offset] in ICMP_ERRORS
    return header.protocol == ip.ICMPV6 and packet[header.offset] in ICMPV6_ERRORS


def _quoted(packet: Buffer, header: Header) -> tuple[Buffer, Header] | None:
    """Give the packet that an ICMP error quotes. It is cut short: RFC 792 promises 8 bytes of the transport header."""
    quotation = bytearray(packet[header.offset + 8 : header.length])
    if len(quotation) < 28:
        return None
    quotation.extend(bytes(12))  # TCP's header would be 20
    if quotation[0] >> 4 == 4:
        quotation[2:4] = len(quotation).to_bytes(2, "big")
    else:
        quotation[4:6] = max(len(quotation) - 40, 0).to_bytes(2, "big")
    inner = ip.parse(quotation)
    return None if inner is None else (quotation, inner)
