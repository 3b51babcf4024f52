"""IPv4 and IPv6 headers: just enough to say who sends what to whom (RFC 791, RFC 8200)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from gateway.packet.checksum import Buffer

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
MAX_EXTENSION_HEADERS = 8
"""More of them is an attack on whoever walks the chain (RFC 8504 section 5.3 lets a node limit them)."""

END_OF_OPTIONS, NO_OPERATION = 0, 1
SOURCE_ROUTES = frozenset({131, 137})
"""Loose and strict source and record route (RFC 791)."""

TRANSPORT_HEADER = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}
"""Smallest transport header in bytes of the protocols that are looked into."""

Address = IPv4Address | IPv6Address


class Header(NamedTuple):
    """What the IP header says. Addresses are 4 or 16 bytes in network order.

    `offset` is where the transport header begins, `length` is the whole packet, both in bytes. `identification` is that
    of a fragment, else None; a fragment with `later` set does not hold the transport header. `routed` says that the sender
    has chosen further stops (source route, routing header), so that `destination` is not where it ends.
    """

    source: bytes
    destination: bytes
    protocol: int
    offset: int
    length: int
    identification: bytes | None
    later: bool
    routed: bool = False


def parse(packet: Buffer) -> Header | None:
    """Read the header; None when it lies about lengths or is neither IPv4 nor IPv6.

    Bytes after the packet's own length are allowed: WireGuard pads.
    """
    if len(packet) < 20:
        return None
    match packet[0] >> 4:
        case 4:
            return _parse_v4(packet)
        case 6:
            return _parse_v6(packet)
    return None


def _parse_v4(packet: Buffer) -> Header | None:
    offset = (packet[0] & 15) * 4
    length = packet[2] << 8 | packet[3]
    if offset < 20 or length < offset or length > len(packet):
        return None
    fragment = packet[6] << 8 | packet[7]
    later = fragment & 0x1FFF != 0
    protocol = packet[9]
    whole = TRANSPORT_HEADER.get(protocol, 0)
    # RFC 1858 section 4.2: a later fragment that begins inside the transport header would overwrite what was judged.
    if (fragment & 0x1FFF) * 8 < whole if later else length - offset < whole:
        return None
    identification = bytes(packet[4:6]) if fragment & 0x3FFF else None
    routed = offset > 20 and _source_routed(packet[20:offset])
    return Header(bytes(packet[12:16]), bytes(packet[16:20]), protocol, offset, length, identification, later, routed)


def _source_routed(options: Buffer) -> bool:
    """Look for a source route (RFC 791 section 3.1). Options that lie about their length are treated as one."""
    at = 0
    while at < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        if options[at] in SOURCE_ROUTES or at + 1 >= len(options) or options[at + 1] < 2:
            return True
        at += options[at + 1]
    return False


def _parse_v6(packet: Buffer) -> Header | None:
    if len(packet) < 40:
        return None
    length = 40 + (packet[4] << 8 | packet[5])
    if length > len(packet):
        return None
    protocol, offset, identification, later, routed = packet[6], 40, None, False, False
    for _ in range(MAX_EXTENSION_HEADERS):
        if protocol not in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
            break
        if offset + 8 > length:
            return None
        following = packet[offset]
        if protocol == FRAGMENT:
            identification = bytes(packet[offset + 4 : offset + 8])
            begins = (packet[offset + 2] << 8 | packet[offset + 3]) & 0xFFF8
            later = begins != 0
            if later and begins < TRANSPORT_HEADER.get(following, 0):
                return None
            size = 8
        else:
            routed = routed or (protocol == ROUTING and packet[offset + 3] > 0)  # segments left
            size = 8 * (packet[offset + 1] + 1)
        protocol, offset = following, offset + size
        if later:
            break
    else:
        return None
    if offset > length or (not later and length - offset < TRANSPORT_HEADER.get(protocol, 0)):
        return None
    return Header(bytes(packet[8:24]), bytes(packet[24:40]), protocol, offset, length, identification, later, routed)


def ports(packet: Buffer, header: Header) -> tuple[int, int]:
    """Give source and destination port, or (0, 0) where the protocol has none or the fragment does not show them."""
    if header.protocol not in (TCP, UDP) or header.later:
        return 0, 0
    at = header.offset
    return packet[at] << 8 | packet[at + 1], packet[at + 2] << 8 | packet[at + 3]


def special(address: bytes) -> bool:
    """Say whether an address is one that a wide permit does not mean: multicast, broadcast, link-local, unspecified."""
    if len(address) == 4:
        return address[0] >= 224 or address[0] in (0, 127) or address[:2] == b"\xa9\xfe"
    return address[0] == 0xFF or (address[0] == 0xFE and address[1] & 0xC0 == 0x80) or address[:15] == bytes(15)
