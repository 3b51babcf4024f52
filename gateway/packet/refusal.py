"""What a refused packet is answered with, so that nobody waits for a time-out: resets and ICMP errors. Pure.

Answers come from the address that was asked for: the only one that the other end's crypto-routing surely lets in.
"""

from __future__ import annotations

import struct

from gateway.packet import checksum, ip
from gateway.packet.checksum import Buffer, ones_sum
from gateway.packet.ip import Header

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ADMINISTRATIVELY_PROHIBITED = (3, 13)
"""ICMP type and code (RFC 1812 section 5.2.7.1)."""
ADMINISTRATIVELY_PROHIBITED_V6 = (1, 1)
"""ICMPv6 type and code (RFC 4443 section 3.1)."""
QUOTED = 28
"""Bytes of an IPv4 packet that its error quotes: header and eight more (RFC 792)."""
QUOTED_V6 = 1232
"""Bytes of an IPv6 packet that its error quotes at most: the whole stays below the smallest MTU (RFC 4443 section 2.4)."""
HOPS = 64
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")


def resets(packet: Buffer, header: Header) -> tuple[bytes, bytes] | None:
    """Resets for both ends of a TCP flow: for who sent `packet`, and for whom it was meant. None when it is a reset itself.

    RFC 9293 section 3.10.7.1: the sender accepts what acknowledges its own sequence number. The other end accepts the
    sender's next sequence number (RFC 5961 section 3.2), which is that of the packet.
    """
    at = header.offset
    source, destination, sequence, acknowledged, _, flags, _, _, _ = _TCP.unpack_from(packet, at)
    if flags & RST:
        return None
    size = header.length - at - (packet[at + 12] >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
    if flags & ACK:
        back = _TCP.pack(destination, source, acknowledged, 0, 5 << 4, RST, 0, 0, 0)
    else:
        back = _TCP.pack(destination, source, 0, (sequence + max(size, 0)) & 0xFFFFFFFF, 5 << 4, RST | ACK, 0, 0, 0)
    on = _TCP.pack(source, destination, sequence, acknowledged, 5 << 4, RST | (flags & ACK), 0, 0, 0)
    return (
        _packet(header.destination, header.source, ip.TCP, back, 16),
        _packet(header.source, header.destination, ip.TCP, on, 16),
    )


def prohibited(packet: Buffer, header: Header) -> bytes | None:
    """An ICMP error for who sent `packet`: administratively prohibited. None where an error must not be answered.

    RFC 1122 section 3.2.2: no error about an ICMP message that may be one, a later fragment, or a multicast or broadcast.
    """
    if header.later or header.protocol in (ip.ICMP, ip.ICMPV6) or ip.special(header.destination):
        return None
    if len(header.source) == 4:
        quoted = bytes(packet[: min(header.length, (packet[0] & 15) * 4 + QUOTED - 20)])
        message = bytes((*ADMINISTRATIVELY_PROHIBITED, 0, 0, 0, 0, 0, 0)) + quoted
        message = message[:2] + checksum.finish(ones_sum(message)).to_bytes(2, "big") + message[4:]
        return _packet(header.destination, header.source, ip.ICMP, message, None)
    message = bytes((*ADMINISTRATIVELY_PROHIBITED_V6, 0, 0, 0, 0, 0, 0)) + bytes(
        packet[: min(header.length, QUOTED_V6)]
    )
    return _packet(header.destination, header.source, ip.ICMPV6, message, 2)


def _packet(source: bytes, destination: bytes, protocol: int, body: bytes, field: int | None) -> bytes:
    """An IP packet around `body`, whose checksum over the pseudo-header goes to offset `field`."""
    if field is not None:
        total = ones_sum(source + destination) + protocol + len(body) + ones_sum(body)
        body = body[:field] + checksum.finish(total).to_bytes(2, "big") + body[field + 2 :]
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, HOPS) + source + destination + body
    header = _IPV4.pack(0x45, 0, 20 + len(body), 0, 0x4000, HOPS, protocol, 0, source, destination)
    return header[:10] + checksum.finish(ones_sum(header)).to_bytes(2, "big") + header[12:] + body
