"""What a SYN tells about the system that built it."""

from __future__ import annotations

import struct

import pytest

from gateway.packet import ip, syn
from tests.sim import recorded_syn

MSS, NOP, WSCALE, SACK, STAMP, END = b"\2\4\5\xb4", b"\1", b"\3\3\7", b"\4\2", b"\10\12" + bytes(8), b"\0"


def packet(options: bytes, *, ttl: int = 64, flags: int = 2, window: int = 64240, protocol: int = 6) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", 40000, 443, 1, 0, (20 + len(options)) // 4 << 4, flags, window, 0, 0) + options
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, ttl, protocol, 0)
    return head + bytes([10, 0, 0, 1]) + bytes([10, 0, 0, 2]) + tcp


def told(data: bytes) -> str:
    header = ip.parse(data)
    assert header is not None
    return syn.fingerprint(data, header)


@pytest.mark.parametrize(
    ("data", "family"),
    [
        (bytes.fromhex(recorded_syn.LINUX_V4), "linux"),
        (bytes.fromhex(recorded_syn.LINUX_V6), "linux"),
        (packet(MSS + SACK + STAMP + NOP + WSCALE), "linux"),
        (packet(MSS + NOP + WSCALE + NOP + NOP + STAMP + SACK + END + END, window=65535), "darwin"),
        (packet(MSS + NOP + WSCALE + NOP + NOP + SACK, ttl=128), "windows"),
        (packet(MSS + NOP + WSCALE + NOP + NOP + SACK, ttl=127), "windows"),
        (packet(MSS + NOP + WSCALE + NOP + NOP + SACK, ttl=64), None),
        (packet(MSS + SACK + STAMP + NOP + WSCALE, ttl=128), None),
        (packet(MSS), None),
        (packet(b""), None),
        (packet(b"\2\0\1\1"), None),
        (packet(b"\2\xff\1\1"), None),
        (packet(NOP * 40), None),
    ],
)
def test_each_family_has_its_habit_and_an_unknown_one_is_nobodys(data: bytes, family: str | None) -> None:
    assert syn.family(told(data)) == family


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (packet(MSS), True),
        (packet(MSS, flags=0x12), False),
        (packet(MSS, flags=0x10), False),
        (packet(MSS, flags=0xC2), True),
        (packet(MSS, protocol=17), False),
    ],
)
def test_only_the_first_packet_of_a_connection_is_one(data: bytes, begins: bool) -> None:
    header = ip.parse(data)
    assert header is not None
    assert syn.is_syn(data, header) is begins


@pytest.mark.parametrize(
    "text", ["", "x", ":", "64", "64:1", "9999:1:MSTNW", "-1:1:MSTNW", "٦٤:1:MSTNW", "64:1:MSTNW:x"]
)
def test_another_text_is_no_fingerprint(text: str) -> None:
    assert syn.family(text) is None
