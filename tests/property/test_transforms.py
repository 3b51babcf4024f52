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
from tests.sim.wire import packet, tcp, udp4, udp6

REFERENCE = choose("python")
SECRET = bytes(range(32))
MTUS = st.sampled_from([1280, 1420, 1421, 1500, 9000])
OPTIONS = st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8), b"\2\4\5\xb4", b"\1" * 40, b"\1\1\5\x0a" + bytes(8)])


def shown(opened: Opened) -> Any:
    frames = [(bytes(frame.first), b"".join(frame.parts)) for frame in opened.frames]
    return opened.authentic, frames, opened.keepalives, opened.malformed


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet of a flow, now and then a strange one."""
    payload = draw(st.binary(max_size=120))
    v6 = draw(st.booleans())
    source, destination = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    match draw(st.integers(0, 6)):
        case 0:
            return (udp6 if v6 else udp4)(source, destination, payload, dport=draw(st.sampled_from([7, 53])))
        case 1:
            return packet(
                source, destination, draw(st.sampled_from([0, 1, 43, 44, 47, 50, 58, 60])), payload + bytes(8)
            )
        case 2:
            whole = bytearray(tcp(source, destination, payload, options=draw(OPTIONS)))
            whole[draw(st.integers(0, len(whole) - 1))] ^= 1 << draw(st.integers(0, 7))
            return bytes(whole)
        case _:
            return tcp(
                source,
                destination,
                payload,
                sport=draw(st.sampled_from([40000, 40001])),
                sequence=draw(st.sampled_from([0, 1, 2**32 - 60])),
                flags=draw(st.sampled_from([0x10, 0x18, 0x11, 0x12, 0x14, 0x30, 0x50, 0x90, 0x02])),
                options=draw(OPTIONS),
            )


@st.composite
def runs(draw: st.DrawFn) -> list[bytes]:
    """Consecutive segments of one flow, now and then with something in between, out of order or shortened."""
    size, count = draw(st.integers(1, 200)), draw(st.integers(1, 70))
    v6, start = draw(st.booleans()), draw(st.sampled_from([0, 1000, 2**32 - 500]))
    source, destination = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    options = draw(OPTIONS)
    found = []
    for number in range(count):
        last = number == count - 1
        payload = bytes(draw(st.integers(1, size)) if last else size)
        if draw(st.booleans()) or number:
            sequence = (start + number * size) & 0xFFFFFFFF
            flags = 0x18 if last and draw(st.booleans()) else 0x10
            found.append(tcp(source, destination, payload, sequence=sequence, flags=flags, options=options))
        else:
            found.append((udp6 if v6 else udp4)(source, destination, payload))
    for _ in range(draw(st.integers(0, 2))):
        found.insert(draw(st.integers(0, len(found))), draw(packets()))
    if draw(st.integers(0, 4)) == 0:
        random.Random(draw(st.integers(0, 99))).shuffle(found)
    return found


@st.composite
def super_frames(draw: st.DrawFn) -> bytes:
    """A frame as the kernel hands it over with segmentation and checksums left to us, sometimes not sound."""
    v6, udp = draw(st.booleans()), draw(st.booleans())
    source, destination = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    payload = draw(st.binary(max_size=40)) * draw(st.integers(0, 40))
    if udp:
        whole, length = (udp6 if v6 else udp4)(source, destination, payload), 8
    else:
        options = draw(OPTIONS)
        flags = draw(st.sampled_from([0x10, 0x18, 0x11, 0x90, 0xD1, 0x30]))
        whole = tcp(
            source, destination, payload, sequence=draw(st.sampled_from([1, 2**32 - 9])), flags=flags, options=options
        )
        length = 20 + len(options)
    start = 40 if v6 else 20
    kind = 5 if udp else (4 if v6 else 1)
    kind = draw(st.sampled_from([kind, kind, kind, kind | 0x80, 0, 1, 3, 4, 5, 77]))
    fields = [
        draw(st.sampled_from([1, 1, 1, 0, 2])),
        kind,
        start + length,
        draw(st.sampled_from([1, 7, 100, 1368, 0, 65535])),
        draw(st.sampled_from([start, start, start, 0, 19, 39, 65535])),
        draw(st.sampled_from([6 if udp else 16, 6, 16, 65535])),
    ]
    return VIRTIO.pack(*fields) + whole


frames = st.one_of(super_frames(), packets().map(PLAIN.__add__), st.binary(max_size=120))


@pytest.fixture(scope="module")
def native() -> Any:
    assert BUILT, "this file is collected only where the native transforms are built"
    return choose("native")


@settings(max_examples=1500, deadline=None)
@given(frames, MTUS, st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_seal_gives_identical_trains(native: Any, frame: bytes, mtu: int, counter: int, receiver: int) -> None:
    expected = REFERENCE.seal(REFERENCE.key(SECRET), receiver, counter, frame, mtu)
    assert native.seal(native.key(SECRET), receiver, counter, memoryview(bytearray(frame)), mtu) == expected


def sealed(inner: list[bytes]) -> Sealed:
    """A train of equally long datagrams: what GRO makes of packets; shorter ones are padded with zeros, as WireGuard pads."""
    longest = max(map(len, inner), default=0)
    trains = [
        REFERENCE.seal(REFERENCE.key(SECRET), 1, n, PLAIN + each.ljust(longest, b"\0"), 1500)
        for n, each in enumerate(inner)
    ]
    return Sealed(b"".join(each.train for each in trains), trains[0].segment if trains else 32, len(trains))


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
        assert train.count == 45
        opened = transforms.open_(transforms.key(SECRET), train.train, train.segment)
        (only,) = opened.frames
        body = b"".join(only.parts)[VIRTIO.size :]
        assert body[start + 20 :] == whole[start + 20 :]
        assert struct.unpack_from("!I", body, start + 4) == (1,)


def test_a_key_has_32_bytes(native: Any) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        native.key(b"short")
