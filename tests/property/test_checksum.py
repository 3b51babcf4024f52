"""The folded sum is the plain one."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.packet.checksum import ones_sum


def plain(data: bytes) -> int:
    """RFC 1071, word by word."""
    padded = data + b"\0" * (len(data) & 1)
    return sum(padded[at] << 8 | padded[at + 1] for at in range(0, len(padded), 2)) % 65535


@given(st.integers(0, 4000), st.integers(0, 2**32), st.sampled_from([0x00, 0xFF, None]))
def test_every_length_gives_the_sum_of_its_words(size: int, seed: int, filled: int | None) -> None:
    data = random.Random(seed).randbytes(size) if filled is None else bytes([filled]) * size
    assert ones_sum(data) == plain(data)
    assert ones_sum(memoryview(data)) == plain(data)
