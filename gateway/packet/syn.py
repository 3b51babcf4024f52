"""What a TCP SYN tells about the system that built it: time to live, window, and the order of the options (RFC 9293 3.1).

Every family of systems has its own habit. Whoever wants to can imitate another's, so the guess can contradict and never prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.packet import ip
from gateway.packet.checksum import Buffer
from gateway.packet.ip import Header

SYN, ACK = 0x02, 0x10
OPTIONS: Final = {0: "E", 1: "N", 2: "M", 3: "W", 4: "S", 8: "T"}
"""End, no-operation, maximum segment size, window scale, SACK permitted, timestamps."""
MOST_OPTIONS: Final = 40

FAMILIES: Final = {
    ("MSTNW", 64): "linux",
    ("MNWNNTSEE", 64): "darwin",
    ("MNWNNS", 128): "windows",
    ("MNWSTNN", 128): "windows",
    ("MNWST", 128): "windows",
}
"""Options in order, and the time to live that a packet of the family starts with."""


def is_syn(packet: Buffer, header: Header) -> bool:
    """Whether the packet begins a TCP connection."""
    flags = header.offset + 13
    return header.protocol == ip.TCP and not header.later and len(packet) > flags and packet[flags] & (SYN | ACK) == SYN


def fingerprint(packet: Buffer, header: Header) -> str:
    """Describe a SYN in one word: `64:64240:MSTNW` is time to live, window, options."""
    window = packet[header.offset + 14] << 8 | packet[header.offset + 15]
    ttl = packet[8] if packet[0] >> 4 == 4 else packet[7]
    return f"{ttl}:{window}:{''.join(_options(packet, header))}"


def family(text: str) -> str | None:
    """Name the family whose habit a fingerprint is; None for one that is nobody's, or that came over other routers' hops."""
    ttl, _, rest = text.partition(":")
    options = rest.partition(":")[2]
    if not (ttl.isascii() and ttl.isdecimal()) or len(ttl) > 3:
        return None
    # The tunnel is the first hop: nothing has counted the packet down, save a network behind the device.
    start = next((start for start in (64, 128) if start - 8 < int(ttl) <= start), None)
    return FAMILIES.get((options, start)) if start is not None else None


def _options(packet: Buffer, header: Header) -> Iterator[str]:
    place = header.offset + 20
    end = min(header.offset + (packet[header.offset + 12] >> 4) * 4, header.length, len(packet))
    for _ in range(MOST_OPTIONS):
        if place >= end:
            return
        kind = packet[place]
        yield OPTIONS.get(kind, "?")
        if kind in (0, 1):
            place += 1
        elif place + 1 < end and packet[place + 1] >= 2:
            place += packet[place + 1]
        else:
            return
