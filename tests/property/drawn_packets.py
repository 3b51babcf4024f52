"""Packets as the two transforms may meet them: every kind that they look into, and every kind that they must leave alone."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from gateway.packet import checksum
from gateway.packet.offload import PLAIN, VIRTIO

V4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
V6 = bytes([0xFD, *range(14), 1]), bytes([0xFD, *range(14), 2])
TCP, UDP, ICMP, ICMPV6, FRAGMENT = 6, 17, 1, 58, 44
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
FLAGS = [
    ACK,
    ACK | PSH,
    ACK | FIN,
    ACK | PSH | FIN,
    SYN,
    SYN | ACK,
    RST,
    ACK | URG,
    ACK | ECE,
    ACK | CWR,
    ACK | CWR | PSH,
]

NOP, END, MSS, SCALE, SACK_OK = b"\1", b"\0", b"\2\4\5\xb4", b"\3\3\7", b"\4\2"
TIMESTAMPS = b"\x08\x0a" + bytes(range(8))
KNOWN = [NOP, END, MSS, SCALE, SACK_OK, TIMESTAMPS, *(bytes([5, 2 + 8 * n]) + bytes(8 * n) for n in (1, 2, 3, 4))]


@st.composite
def options(draw: st.DrawFn) -> bytes:
    """TCP options in any order: known ones, unknown ones and ones that lie about their length, up to 40 bytes."""
    strange = st.builds(
        lambda kind, body: bytes([kind, 2 + len(body)]) + body, st.integers(6, 255), st.binary(max_size=9)
    )
    lying = st.binary(min_size=1, max_size=3)
    chosen = draw(st.lists(st.one_of(st.sampled_from(KNOWN), st.sampled_from(KNOWN), strange, lying), max_size=6))
    whole = b"".join(chosen)[:40]
    return whole.ljust((len(whole) + 3) // 4 * 4, draw(st.sampled_from([NOP, END])))


@dataclass(frozen=True)
class Segment:
    """A TCP segment or UDP datagram with everything in its headers that may differ."""

    v6: bool = False
    udp: bool = False
    sport: int = 40000
    sequence: int = 1
    acknowledged: int = 0
    flags: int = ACK
    window: int = 8192
    urgent: int = 0
    options: bytes = b""
    traffic_class: int = 0
    identification: int = 0
    hops: int = 64
    dont_fragment: bool = True
    extensions: bytes = b""
    payload: bytes = b""

    def pack(self) -> bytes:
        transport = self._udp() if self.udp else self._tcp()
        protocol, field = (UDP, 6) if self.udp else (TCP, 16)
        total = checksum.ones_sum(b"".join(V6 if self.v6 else V4)) + protocol + len(transport)
        made = checksum.finish(total + checksum.ones_sum(transport)) or 0xFFFF
        return self.network(protocol, transport[:field] + made.to_bytes(2, "big") + transport[field + 2 :])

    def network(self, protocol: int, body: bytes) -> bytes:
        """An IP header in front; `extensions` are the options of IPv4 or the extension headers of IPv6."""
        if self.v6:
            first = 0x60000000 | self.traffic_class << 20
            before = chain(self.extensions, protocol)
            following = self.extensions[0] if self.extensions else protocol
            return struct.pack("!IHBB", first, len(before + body), following, self.hops) + b"".join(V6) + before + body
        length = 20 + len(self.extensions)
        fragment = 0x4000 if self.dont_fragment else 0
        fields = (
            0x40 | length // 4,
            self.traffic_class,
            length + len(body),
            self.identification,
            fragment,
            self.hops,
            protocol,
        )
        header = struct.pack("!BBHHHBBH", *fields, 0) + b"".join(V4) + self.extensions
        return header[:10] + checksum.finish(checksum.ones_sum(header)).to_bytes(2, "big") + header[12:] + body

    def _tcp(self) -> bytes:
        offset = (20 + len(self.options)) // 4 << 4
        fields = self.sport, 443, self.sequence, self.acknowledged, offset, self.flags, self.window, 0, self.urgent
        return struct.pack("!HHIIBBHHH", *fields) + self.options + self.payload

    def _udp(self) -> bytes:
        return struct.pack("!HHHH", self.sport, 53, 8 + len(self.payload), 0) + self.payload


def chain(kinds: bytes, protocol: int) -> bytes:
    """IPv6 extension headers of these kinds, each 8 bytes; a fragment header among them says that there is only one."""
    return b"".join(bytes([after]) + bytes(7) for after in (*kinds[1:], protocol)) if kinds else b""


@st.composite
def segments(draw: st.DrawFn, *, longest: int = 120, udp: bool | None = None, plain: bool = False) -> Segment:
    """One segment; `plain` without IPv4 options and extension headers, as the kernel's super-packets are."""
    v6 = draw(st.booleans())
    extensions = b""
    if not plain and draw(st.integers(0, 5)) == 0:
        kinds = st.lists(st.sampled_from([0, 43, FRAGMENT, 60]), min_size=1, max_size=3)
        extensions = bytes(draw(kinds)) if v6 else draw(st.sampled_from([NOP * 4, NOP * 40, b"\x94\4\0\0"]))
    return Segment(
        v6=v6,
        udp=draw(st.booleans()) if udp is None else udp,
        sport=draw(st.sampled_from([40000, 40001])),
        sequence=draw(st.sampled_from([0, 1, 2**31, 2**32 - 60])),
        acknowledged=draw(st.sampled_from([0, 7])),
        flags=draw(st.sampled_from(FLAGS)),
        window=draw(st.sampled_from([0, 1, 65535])),
        urgent=draw(st.sampled_from([0, 0, 5])),
        options=draw(options()),
        traffic_class=draw(st.sampled_from([0, 1, 2, 3, 0xB8])),
        identification=draw(st.sampled_from([0, 1, 65535])),
        hops=draw(st.sampled_from([64, 1, 0])),
        dont_fragment=draw(st.booleans()),
        extensions=extensions,
        payload=draw(st.binary(max_size=longest)),
    )


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """A first, middle or last fragment of either version."""
    whole = draw(segments(plain=True))
    offset, more = draw(st.sampled_from([0, 1, 185])), draw(st.booleans())
    if whole.v6:
        header = struct.pack("!BBHI", UDP if whole.udp else TCP, 0, offset << 3 | more, 99)
        return replace(whole, extensions=b"").network(FRAGMENT, header + whole.pack()[40:])
    packed = bytearray(whole.pack())
    packed[6:8] = (offset | more << 13).to_bytes(2, "big")
    packed[10:12] = bytes(2)
    packed[10:12] = checksum.finish(checksum.ones_sum(packed[:20])).to_bytes(2, "big")
    return bytes(packed)


@st.composite
def icmp(draw: st.DrawFn) -> bytes:
    """An echo, or an error that quotes a packet."""
    v6 = draw(st.booleans())
    kind = draw(st.sampled_from([128, 129, 1, 2, 3] if v6 else [8, 0, 3, 11, 12]))
    body = bytes([kind, 0, 0, 0, 0, 1, 0, 1]) + draw(segments()).pack()[: draw(st.integers(0, 80))]
    return Segment(v6=v6).network(ICMPV6 if v6 else ICMP, body)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A packet with a few wrong bits: in a checksum, a length, a version."""
    whole = bytearray(draw(st.one_of(segments().map(Segment.pack), fragments(), icmp())))
    for _ in range(draw(st.integers(1, 3))):
        whole[draw(st.integers(0, len(whole) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(whole)


def packets() -> st.SearchStrategy[bytes]:
    """One packet of any kind."""
    other = st.builds(lambda v6, protocol, body: Segment(v6=v6).network(protocol, body), st.booleans(), st.integers(0, 255), st.binary(max_size=60))  # fmt: skip
    return st.one_of(segments().map(Segment.pack), segments().map(Segment.pack), fragments(), icmp(), broken(), other)


@st.composite
def runs(draw: st.DrawFn) -> list[bytes]:
    """Consecutive segments of one flow: edges in the middle, odd lengths, strangers in between, shuffled or repeated."""
    size, count = draw(st.integers(1, 200)), draw(st.integers(1, 70))
    first = replace(draw(segments(longest=0)), flags=draw(st.sampled_from([ACK, ACK, ACK, ACK | ECE])))
    found = []
    for number in range(count):
        sequence = (first.sequence + number * size) & 0xFFFFFFFF
        at = {"sequence": sequence, "identification": (first.identification + number) & 0xFFFF}
        found.append(replace(first, payload=bytes([number]) * size, **at))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, count - 1))
        change = draw(st.sampled_from(["flags", "window", "urgent", "acknowledged", "options", "payload", "traffic_class", "hops"]))  # fmt: skip
        value = {"flags": draw(st.sampled_from(FLAGS)), "options": draw(options()), "payload": bytes(draw(st.integers(0, size)))}  # fmt: skip
        found[at] = replace(found[at], **{change: value.get(change, draw(st.sampled_from([0, 1, 3])))})
    packed = [each.pack() for each in found]
    for _ in range(draw(st.integers(0, 2))):
        packed.insert(draw(st.integers(0, len(packed))), draw(packets()))
    match draw(st.integers(0, 5)):
        case 0:
            random.Random(draw(st.integers(0, 99))).shuffle(packed)
        case 1:
            packed.insert(draw(st.integers(0, len(packed))), draw(st.sampled_from(packed)))
    return packed


WRONG = [(0, 0), (0, 2), (1, 0), (1, 1), (1, 3), (1, 4), (1, 5), (1, 77), (3, 0), (3, 65535), (4, 0), (4, 19), (4, 39), (4, 65535), (5, 6), (5, 16), (5, 65535)]  # fmt: skip
"""Fields of a virtio header, and values that do not fit."""


@st.composite
def super_frames(draw: st.DrawFn) -> bytes:
    """A frame as the kernel hands it over with segmentation and checksums left to us, sometimes not sound."""
    whole = draw(segments(longest=40, plain=draw(st.integers(0, 4)) > 0))
    whole = replace(whole, payload=(whole.payload or b"x") * draw(st.integers(0, 60)))
    start = (40 if whole.v6 else 20) + (8 * len(whole.extensions) if whole.v6 else len(whole.extensions))
    length = 8 if whole.udp else 20 + len(whole.options)
    right = 5 if whole.udp else (4 if whole.v6 else 1)
    fields = [1, draw(st.sampled_from([right, right | 0x80])), start + length, draw(st.sampled_from([1, 7, 100, 1368])), start, 6 if whole.udp else 16]  # fmt: skip
    for at, wrong in draw(st.lists(st.sampled_from(WRONG), max_size=2)) if draw(st.booleans()) else []:
        fields[at] = wrong
    return VIRTIO.pack(*fields) + whole.pack()


def frames() -> st.SearchStrategy[bytes]:
    """What a TUN may give, and bytes that it never would."""
    return st.one_of(super_frames(), super_frames(), packets().map(PLAIN.__add__), st.binary(max_size=120))
