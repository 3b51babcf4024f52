"""Super-packets: one TSO or USO packet of up to 64 KiB to packets as they go over the wire, and back.

A frame is what crosses a TUN with virtio headers: `struct virtio_net_hdr` (10 bytes, VIRTIO 1.2 section 5.1.6) and one IP
packet, whose checksum and segmentation the kernel may have left to us (`split`) or takes from us (`merge`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from gateway.packet import checksum, ip
from gateway.packet.checksum import Buffer, ones_sum

VIRTIO = struct.Struct("=BBHHHH")
"""flags, GSO type, header length, GSO size, checksum start, checksum offset."""
NEEDS_CHECKSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_ECN = 0, 1, 4, 5, 0x80
PLAIN = bytes(VIRTIO.size)
_SHORT, _SHORTS, _LONG = struct.Struct("!H"), struct.Struct("!HH"), struct.Struct("!I")

TCP_CHECKSUM, UDP_CHECKSUM = 16, 6
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
MAX_SUPER_PACKET = 65_000
MAX_SEGMENTS = 64

Parts = list[Buffer]
"""One packet or frame in pieces, as writev(2) takes it."""


class Frame(NamedTuple):
    """A frame for the TUN, and the first packet in it: what holds for that one's addresses and ports holds for all."""

    first: Buffer
    parts: Parts


def split(frame: Buffer) -> list[Parts]:
    """Cut a frame into packets with all checksums in place; an empty list when its header does not fit its packet."""
    if len(frame) < VIRTIO.size + 20:
        return []
    flags, gso_type, _, size, start, offset = VIRTIO.unpack_from(frame)
    packet = memoryview(frame)[VIRTIO.size :]
    kind = gso_type & ~GSO_ECN
    if kind == GSO_NONE:
        return [[_completed(packet, start, offset)]] if flags & NEEDS_CHECKSUM else [[packet]]
    if kind in (GSO_TCPV4, GSO_TCPV6):
        return _split_tcp(packet, start, size)
    if kind == GSO_UDP:
        return _split_udp(packet, start, size)
    return []


def _completed(packet: memoryview, start: int, offset: int) -> Buffer:
    """Finish a checksum of which the field holds the pseudo-header's sum."""
    if start + offset + 2 > len(packet):
        return packet
    whole = bytearray(packet)
    total = checksum.finish(ones_sum(packet[start:]))
    struct.pack_into("!H", whole, start + offset, total or 0xFFFF)
    return whole


class _Headers:
    """The IP header of a super-packet, ready to be stamped for each of its segments."""

    def __init__(self, packet: memoryview, protocol: int, start: int, length: int) -> None:
        self.bytes = bytearray(packet[:length])
        self._v4 = packet[0] >> 4 == 4
        self._identification = packet[4] << 8 | packet[5]
        addresses = packet[12:20] if self._v4 else packet[8:40]
        self.pseudo = ones_sum(addresses) + protocol
        if self._v4:
            self.bytes[2:6] = bytes(4)
            self.bytes[10:12] = bytes(2)
            self._sum = ones_sum(self.bytes[:start])

    def stamp(self, index: int, length: int) -> None:
        """Write lengths, identification and header checksum of segment `index`, `length` bytes long altogether."""
        if not self._v4:
            _SHORT.pack_into(self.bytes, 4, length - 40)
            return
        identification = (self._identification + index) & 0xFFFF
        _SHORTS.pack_into(self.bytes, 2, length, identification)
        _SHORT.pack_into(self.bytes, 10, checksum.finish(self._sum + length + identification))


def _shortest_header(packet: memoryview) -> int:
    """Bytes of the IP header at least; no packet has as many as are given for an unknown version."""
    return {4: 20, 6: 40}.get(packet[0] >> 4, 1 << 16)


def _split_tcp(packet: memoryview, start: int, size: int) -> list[Parts]:
    if not size or start < _shortest_header(packet) or start + 20 > len(packet):
        return []
    end = start + (packet[start + 12] >> 4) * 4
    if end < start + 20 or end > len(packet):
        return []
    headers = _Headers(packet, ip.TCP, start, end)
    stamped = headers.bytes
    (sequence,) = struct.unpack_from("!I", packet, start + 4)
    flags = packet[start + 13]
    stamped[start + 4 : start + 8] = bytes(4)
    stamped[start + 13] = 0
    stamped[start + 16 : start + 18] = bytes(2)
    base = headers.pseudo + ones_sum(stamped[start:end])
    payload = packet[end:]
    base += end - start
    limit, marks = len(payload), flags & ~(FIN | PSH)
    packets: list[Parts] = []
    for index, at in enumerate(range(0, limit, size)):
        segment = payload[at : at + size]
        if at + size >= limit:
            marks |= flags & (FIN | PSH)
        position = (sequence + at) & 0xFFFFFFFF
        headers.stamp(index, end + len(segment))
        _LONG.pack_into(stamped, start + 4, position)
        stamped[start + 13] = marks
        total = base + len(segment) + position + marks + ones_sum(segment)
        _SHORT.pack_into(stamped, start + TCP_CHECKSUM, ~(total % 65535) & 0xFFFF)
        packets.append([bytes(stamped), segment])
        marks &= ~CWR
    return packets


def _split_udp(packet: memoryview, start: int, size: int) -> list[Parts]:
    end = start + 8
    if not size or start < _shortest_header(packet) or end > len(packet):
        return []
    headers = _Headers(packet, ip.UDP, start, end)
    stamped = headers.bytes
    base = headers.pseudo + ones_sum(packet[start : start + 4])
    payload = packet[end:]
    packets: list[Parts] = []
    for index, at in enumerate(range(0, len(payload), size)):
        segment = payload[at : at + size]
        length = 8 + len(segment)
        headers.stamp(index, end + len(segment))
        total = checksum.finish(base + 2 * length + ones_sum(segment))
        struct.pack_into("!HH", stamped, start + 4, length, total or 0xFFFF)
        packets.append([bytes(stamped), segment])
    return packets


class _Segment(NamedTuple):
    """A packet that could be one segment of a super-packet."""

    key: tuple[bytes, ...]
    start: int
    end: int
    sequence: int
    last: bool
    payload: Buffer


class _Group:
    """Packets that become one frame: consecutive segments of one flow, or a single packet."""

    def __init__(self, packet: Buffer, segment: _Segment | None) -> None:
        self.first = packet
        self.segment = segment
        self.payloads: list[Buffer] = [segment.payload] if segment else []
        self.size = len(segment.payload) if segment else 0
        self.length = self.size
        self.closed = segment is None or segment.last

    def take(self, segment: _Segment) -> bool:
        """Append `segment` if it goes on exactly where the group ends."""
        mine = self.segment
        if self.closed or mine is None or len(segment.payload) > self.size or len(self.payloads) >= MAX_SEGMENTS:
            return False
        expected = (mine.sequence + self.length) & 0xFFFFFFFF if _is_tcp(self.first) else 0
        if segment.sequence != expected or mine.end + self.length + len(segment.payload) > MAX_SUPER_PACKET:
            return False
        self.payloads.append(segment.payload)
        self.length += len(segment.payload)
        self.closed = segment.last or len(segment.payload) < self.size
        return True

    def frame(self, *, pushed: bool) -> Frame:
        """Give the frame for the TUN."""
        if len(self.payloads) < 2 or self.segment is None:
            return Frame(self.first, [PLAIN, self.first])
        start, end = self.segment.start, self.segment.end
        v4, tcp = self.first[0] >> 4 == 4, _is_tcp(self.first)
        header = bytearray(self.first[:end])
        length = end + self.length
        if v4:
            struct.pack_into("!H", header, 2, length)
            header[10:12] = bytes(2)
            struct.pack_into("!H", header, 10, checksum.finish(ones_sum(header[:start])))
        else:
            struct.pack_into("!H", header, 4, length - 40)
        addresses = header[12:20] if v4 else header[8:40]
        pseudo = (ones_sum(addresses) + (ip.TCP if tcp else ip.UDP) + length - start) % 65535
        field = TCP_CHECKSUM if tcp else UDP_CHECKSUM
        struct.pack_into("!H", header, start + field, pseudo)
        if tcp:
            header[start + 13] |= PSH if pushed else 0
        else:
            struct.pack_into("!H", header, start + 4, length - start)
        kind = (GSO_TCPV4 if v4 else GSO_TCPV6) if tcp else GSO_UDP
        virtio = VIRTIO.pack(NEEDS_CHECKSUM, kind, end, self.size, start, field)
        return Frame(self.first, [virtio, header, *self.payloads])


def merge(packets: Iterable[bytes], *, udp: bool = True) -> list[Frame]:
    """Join consecutive segments of the same flow into frames; the order within every flow is kept.

    `packets` are whole IP packets without padding. Only what a split would give back is joined: same headers, sound
    checksum, next sequence number. `udp` says whether the TUN takes USO frames.
    """
    groups: list[_Group] = []
    pushed: set[int] = set()
    open_groups: dict[tuple[bytes, ...], int] = {}
    for packet in packets:
        segment = _tcp_segment(packet) if _is_tcp(packet) else _udp_segment(packet) if udp else None
        if segment is not None:
            at = open_groups.get(segment.key)
            if at is not None and groups[at].take(segment):
                if segment.last:
                    pushed.add(at)
                continue
            open_groups[segment.key] = len(groups)
        elif open_groups:
            open_groups.clear()  # it may belong to any of them, and must not overtake
        groups.append(_Group(packet, segment))
    return [group.frame(pushed=at in pushed) for at, group in enumerate(groups)]


def _is_tcp(packet: Buffer) -> bool:
    return (packet[0] == 0x45 and packet[9] == ip.TCP) or (packet[0] >> 4 == 6 and packet[6] == ip.TCP)


def _whole(packet: bytes) -> bool:
    """No fragment, and with a sound IPv4 header: a merged one gets a fresh checksum, which must not mend a broken one."""
    return not packet[6] & 0x3F and not packet[7] and checksum.holds(ones_sum(packet[:20]))


def _ends(packet: bytes, start: int) -> bytes:
    """Addresses and ports: they lie side by side in both versions of IP."""
    return packet[start - (8 if start == 20 else 32) : start + 4]


def _sound(packet: bytes, start: int, protocol: int) -> bool:
    """Whether the transport checksum holds. The addresses of the pseudo-header lie right before the transport header."""
    covered = packet[start - (8 if start == 20 else 32) :]
    return (ones_sum(covered) + protocol + len(packet) - start) % 65535 == 0


def _tcp_segment(packet: bytes) -> _Segment | None:
    """Read a data segment that carries no flag but ACK and PSH; anything else stays by itself."""
    v4 = packet[0] >> 4 == 4
    start = 20 if v4 else 40
    if len(packet) < start + 20 or (v4 and not _whole(packet)):
        return None
    end = start + (packet[start + 12] >> 4) * 4
    flags = packet[start + 13]
    if flags & ~PSH != ACK or end >= len(packet) or end < start + 20:
        return None
    if not _sound(packet, start, ip.TCP):
        return None
    network = packet[1:2] + packet[6:10] if v4 else packet[:4] + packet[6:8]
    key = (network, _ends(packet, start), packet[start + 8 : start + 13], packet[start + 14 : start + 16], packet[start + 18 : end])  # fmt: skip
    sequence = int.from_bytes(packet[start + 4 : start + 8], "big")
    return _Segment(key, start, end, sequence, flags & PSH != 0, memoryview(packet)[end:])


def _udp_segment(packet: bytes) -> _Segment | None:
    v4 = packet[0] >> 4 == 4
    start = 20 if v4 else 40
    if (packet[0] != 0x45 or packet[9] != ip.UDP or not _whole(packet)) if v4 else packet[6] != ip.UDP:
        return None
    if len(packet) <= start + 8 or packet[start + 4 : start + 6] != (len(packet) - start).to_bytes(2, "big"):
        return None
    if packet[start + 6 : start + 8] == b"\0\0":
        return None  # without a checksum, a split would invent one
    if not _sound(packet, start, ip.UDP):
        return None
    network = packet[1:2] + packet[6:10] if v4 else packet[:4] + packet[6:8]
    return _Segment((network, _ends(packet, start)), start, start + 8, 0, False, memoryview(packet)[start + 8 :])  # fmt: skip
