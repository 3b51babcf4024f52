"""Super-packets: what the kernel leaves to us is done right, and only what belongs together is joined."""

from __future__ import annotations

import struct

import pytest

from gateway.packet import checksum, ip
from gateway.packet.offload import (
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    NEEDS_CHECKSUM,
    PLAIN,
    VIRTIO,
    merge,
    split,
)
from tests.sim.wire import tcp, udp4, udp6

V4, V6 = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def sound(packet):
    """Whether the transport checksum holds, and in IPv4 the header's too."""
    v4 = packet[0] >> 4 == 4
    start, addresses = (20, packet[12:20]) if v4 else (40, packet[8:40])
    protocol = packet[9] if v4 else packet[6]
    body = packet[start:]
    inner = checksum.ones_sum(addresses) + protocol + len(body) + checksum.ones_sum(body)
    return checksum.holds(inner) and (not v4 or checksum.holds(checksum.ones_sum(packet[:20])))


def super_packet(addresses, payload, size, flags=0x18, kind=None):
    whole = tcp(*addresses, payload, flags=flags, sequence=0xFFFFFF00)
    start = 20 if addresses is V4 else 40
    kind = (GSO_TCPV4 if addresses is V4 else GSO_TCPV6) if kind is None else kind
    return VIRTIO.pack(NEEDS_CHECKSUM, kind, start + 20, size, start, 16) + whole


def packets_of(frame):
    return [b"".join(parts) for parts in split(frame)]


@pytest.mark.parametrize("addresses", [V4, V6])
def test_a_tcp_super_packet_becomes_segments_with_sound_checksums(addresses):
    payload = bytes(range(256)) * 20
    packets = packets_of(super_packet(addresses, payload, 1000))
    start = 20 if addresses is V4 else 40
    assert [len(p) - start - 20 for p in packets] == [1000] * 5 + [120]
    assert b"".join(p[start + 20 :] for p in packets) == payload
    assert all(sound(p) for p in packets)
    sequences = [struct.unpack_from("!I", p, start + 4)[0] for p in packets]
    assert sequences == [(0xFFFFFF00 + 1000 * n) & 0xFFFFFFFF for n in range(6)]


def test_fin_and_push_are_on_the_last_segment_and_cwr_on_the_first():
    frame = super_packet(V4, bytes(2500), 1000, flags=0x99, kind=GSO_TCPV4 | GSO_ECN)
    assert [p[33] for p in packets_of(frame)] == [0x90, 0x10, 0x19]


def test_ipv4_identifications_count_up():
    assert [p[4:6] for p in packets_of(super_packet(V4, bytes(2500), 1000))] == [b"\0\0", b"\0\1", b"\0\2"]


@pytest.mark.parametrize(("addresses", "make"), [(V4, udp4), (V6, udp6)])
def test_a_udp_super_packet_becomes_datagrams_with_sound_checksums(addresses, make):
    start = 20 if make is udp4 else 40
    frame = VIRTIO.pack(NEEDS_CHECKSUM, GSO_UDP, start + 8, 500, start, 6) + make(*addresses, bytes(range(250)) * 5)
    packets = packets_of(frame)
    assert [len(p) - start - 8 for p in packets] == [500, 500, 250]
    assert all(sound(p) for p in packets)


def test_a_partial_checksum_is_finished():
    data = bytearray(udp4(*V4, b"hello"))
    pseudo = checksum.ones_sum(data[12:20]) + ip.UDP + len(data) - 20
    data[26:28] = (pseudo % 65535).to_bytes(2, "big")
    (packet,) = packets_of(VIRTIO.pack(NEEDS_CHECKSUM, 0, 0, 0, 20, 6) + data)
    assert sound(packet)


def test_a_plain_packet_passes_through_untouched():
    assert packets_of(PLAIN + udp4(*V4)) == [udp4(*V4)]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        PLAIN,
        VIRTIO.pack(1, GSO_TCPV4, 40, 0, 20, 16) + tcp(*V4, bytes(3000)),  # no segment size
        VIRTIO.pack(1, GSO_TCPV4, 40, 1000, 3000, 16) + tcp(*V4, bytes(100)),  # header behind the end
        VIRTIO.pack(1, 3, 40, 1000, 20, 16) + tcp(*V4, bytes(100)),  # UFO, which we never ask for
    ],
)
def test_a_frame_whose_header_does_not_fit_gives_nothing(frame):
    assert split(frame) == []


@pytest.mark.parametrize("addresses", [V4, V6])
def test_segments_in_order_become_one_frame_again(addresses):
    payload = bytes(range(251)) * 20
    packets = packets_of(super_packet(addresses, payload, 1000))
    (frame,) = merge(packets)
    assert packets_of(b"".join(frame.parts)) == packets


def test_datagrams_of_one_flow_become_one_frame_again():
    packets = [udp4(*V4, bytes([n]) * 300) for n in range(4)] + [udp4(*V4, b"short")]
    (frame,) = merge(packets)
    assert [p[20:] for p in packets_of(b"".join(frame.parts))] == [p[20:] for p in packets]
    assert len(merge(packets, udp=False)) == 5


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("a gap", tcp(*V4, b"b" * 100, sequence=102)),
        ("another port", tcp(*V4, b"b" * 100, sequence=101, dport=444)),
        ("another acknowledgement flag", tcp(*V4, b"b" * 100, sequence=101, flags=0x30)),
        ("a reset", tcp(*V4, b"", sequence=101, flags=0x04)),
        ("options", tcp(*V4, b"b" * 100, sequence=101, options=b"\1\1\1\0")),
        ("a longer payload", tcp(*V4, b"b" * 101, sequence=101)),
        ("a broken checksum", tcp(*V4, b"b" * 100, sequence=101)[:-1] + b"c"),
    ],
)
def test_what_does_not_go_on_exactly_is_not_joined(name, second):
    packets = [tcp(*V4, b"a" * 100, sequence=1), second]
    frames = merge(packets)
    assert [b"".join(f.parts[1:]) for f in frames] == packets, name


def test_two_flows_interleaved_are_both_joined():
    one = [tcp(*V4, bytes(100), sequence=1 + 100 * n) for n in range(3)]
    two = [tcp(*V4, bytes(100), sequence=1 + 100 * n, dport=80) for n in range(3)]
    frames = merge([p for both in zip(one, two, strict=True) for p in both])
    assert [[p[20:] for p in packets_of(b"".join(f.parts))] for f in frames] == [
        [p[20:] for p in one],
        [p[20:] for p in two],
    ]


def test_a_pushed_segment_ends_its_frame():
    packets = [tcp(*V4, bytes(100), sequence=1), tcp(*V4, bytes(100), sequence=101, flags=0x18)]
    packets.append(tcp(*V4, bytes(100), sequence=201))
    frames = merge(packets)
    assert len(frames) == 2
    assert packets_of(b"".join(frames[0].parts))[1][33] == 0x18


def test_a_frame_never_grows_beyond_what_the_kernel_takes():
    frames = merge([tcp(*V4, bytes(1400), sequence=1 + 1400 * n) for n in range(100)])
    assert max(sum(len(p) for p in f.parts) for f in frames) <= 65_010
    assert sum(len(packets_of(b"".join(f.parts))) for f in frames) == 100
