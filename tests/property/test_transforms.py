"""The native transforms give what the reference gives, byte for byte, whatever they are fed."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.packet.offload import PLAIN, VIRTIO
from gateway.wireguard.transforms import Opened, Sealed, choose
from tests.conftest import BUILT
from tests.property.drawn_packets import frames, runs
from tests.sim.wire import tcp

REFERENCE = choose("python")
SECRET = bytes(range(32))
MTUS = st.sampled_from([1280, 1420, 1421, 1500, 9000])


def shown(opened: Opened) -> Any:
    frames = [(bytes(first), b"".join(parts)) for first, parts in opened.frames]
    return opened.authentic, frames, opened.keepalives, opened.malformed


@pytest.fixture(scope="module")
def native() -> Any:
    assert BUILT, "this file is collected only where the native transforms are built"
    return choose("native")


@settings(max_examples=1500, deadline=None)
@given(frames(), MTUS, st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_seal_gives_identical_trains(native: Any, frame: bytes, mtu: int, counter: int, receiver: int) -> None:
    expected = REFERENCE.seal(REFERENCE.key(SECRET), receiver, counter, frame, mtu)
    assert native.seal(native.key(SECRET), receiver, counter, memoryview(bytearray(frame)), mtu) == expected


def sealed(inner: list[bytes]) -> Sealed:
    """A train of equally long datagrams, the last not longer: what GRO makes of packets. Shorter ones are padded with zeros."""
    longest = max(map(len, inner[:-1]), default=len(inner[-1]))
    padded = [each.ljust(longest, b"\0") for each in inner[:-1]] + [inner[-1][:longest]]
    trains = [REFERENCE.seal(REFERENCE.key(SECRET), 1, n, PLAIN + each, 1500) for n, each in enumerate(padded)]
    return Sealed(b"".join(each.train for each in trains), trains[0].segment, len(trains))


@settings(max_examples=600, deadline=None)
@given(runs(), st.booleans())
def test_open_gives_identical_frames(native: Any, inner: list[bytes], udp: bool) -> None:
    train = sealed(inner)
    expected = REFERENCE.open_(REFERENCE.key(SECRET), train.train, train.segment, udp=udp)
    found = native.open_(native.key(SECRET), memoryview(bytearray(train.train)), train.segment, udp=udp)
    assert shown(found) == shown(expected)


@settings(max_examples=600, deadline=None)
@given(runs(), st.data())
def test_open_makes_the_same_of_damaged_trains(native: Any, inner: list[bytes], data: st.DataObject) -> None:
    train = sealed(inner)
    damaged = bytearray(train.train)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    segment = data.draw(st.sampled_from([train.segment, train.segment, 33, 1, 65535]))
    expected = REFERENCE.open_(REFERENCE.key(SECRET), damaged, segment)
    assert shown(native.open_(native.key(SECRET), memoryview(damaged), segment)) == shown(expected)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 2100))
def test_no_bytes_make_either_of_them_raise(native: Any, data: bytes, segment: int) -> None:
    expected = REFERENCE.open_(REFERENCE.key(SECRET), data, segment)
    assert shown(native.open_(native.key(SECRET), data, segment)) == shown(expected)
    assert not any(expected.authentic)


@pytest.mark.parametrize("name", ["python", "native"])
def test_a_split_and_merged_super_packet_comes_out_as_it_went_in(name: str) -> None:
    transforms = choose(name)
    for v6 in (False, True):
        source, destination = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
        start, size = (40 if v6 else 20), 1348 if v6 else 1368
        whole = tcp(source, destination, random.Random(3).randbytes(45 * size), flags=0x18)
        frame = VIRTIO.pack(1, 4 if v6 else 1, start + 20, size, start, 16) + whole
        train = transforms.seal(transforms.key(SECRET), 1, 0, frame, 1420)
        assert train.datagrams == 45
        opened = transforms.open_(transforms.key(SECRET), train.train, train.segment)
        ((_, parts),) = opened.frames
        body = b"".join(parts)[VIRTIO.size :]
        assert body[start + 20 :] == whole[start + 20 :]
        assert struct.unpack_from("!I", body, start + 4) == (1,)


def test_a_key_has_32_bytes(native: Any) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        native.key(b"short")
