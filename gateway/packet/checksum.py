"""The Internet checksum (RFC 1071), computed with big integers: 2^16 is 1 modulo 65535, so a sum is one division."""

from __future__ import annotations

from functools import lru_cache

FOLDED = 256
"""Bytes from which halves are added before the division: 1.7 us in place of 2.7 for 1,408 bytes."""
Buffer = bytes | bytearray | memoryview


def ones_sum(data: Buffer) -> int:
    """Sum `data` as 16-bit big-endian words in ones' complement; an odd last byte is padded with zero."""
    total = int.from_bytes(data, "big")
    size = len(data)
    if size & 1:
        total <<= 8
    if size > FOLDED:
        for bits, mask in _folds(size):
            total = (total >> bits) + (total & mask)
    return total % 65535


@lru_cache(maxsize=64)
def _folds(size: int) -> tuple[tuple[int, int], ...]:
    """Where to cut a number of `size` bytes in half, and again, so that each half is whole 16-bit words."""
    folds = []
    while size > FOLDED:
        size = (size + 3) // 4 * 2
        folds.append((size * 8, (1 << size * 8) - 1))
    return tuple(folds)


def finish(total: int) -> int:
    """Give the checksum field for a sum of words, the field itself counted as zero."""
    return ~(total % 65535) & 0xFFFF


def holds(total: int) -> bool:
    """Say whether a sum that includes the checksum field is that of an intact packet."""
    return total % 65535 == 0
