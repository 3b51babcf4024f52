"""The Internet checksum (RFC 1071), computed with big integers: 2^16 is 1 modulo 65535, so a sum is one division."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview


def ones_sum(data: Buffer) -> int:
    """Sum `data` as 16-bit big-endian words in ones' complement; an odd last byte is padded with zero."""
    total = int.from_bytes(data, "big")
    return (total << 8 if len(data) & 1 else total) % 65535


def finish(total: int) -> int:
    """Give the checksum field for a sum of words, the field itself counted as zero."""
    return ~(total % 65535) & 0xFFFF


def holds(total: int) -> bool:
    """Say whether a sum that includes the checksum field is that of an intact packet."""
    return total % 65535 == 0
