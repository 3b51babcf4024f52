"""Resets and errors that answer refused packets: sound packets, and none where an answer would do harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.packet import checksum, ip, refusal
from gateway.packet.checksum import ones_sum
from tests.sim.wire import packet, tcp, udp4, udp6

FAMILIES = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")]


def parsed(data: bytes) -> ip.Header:
    """The header of a packet whose checksums are all sound."""
    header = ip.parse(data)
    assert header is not None
    assert header.length == len(data)
    if data[0] >> 4 == 4:
        assert checksum.holds(ones_sum(data[:20]))
    body = data[header.offset :]
    pseudo = (
        0 if header.protocol == ip.ICMP else ones_sum(header.source + header.destination) + header.protocol + len(body)
    )
    assert checksum.holds(pseudo + ones_sum(body))
    return header


@pytest.mark.parametrize(("source", "destination"), FAMILIES)
def test_both_resets_are_acceptable_to_their_ends(source: str, destination: str) -> None:
    data = bytearray(tcp(source, destination, b"12345", sequence=1000))
    at = 40 if ":" in source else 20
    struct.pack_into("!I", data, at + 8, 7000)
    header = ip.parse(data)
    assert header is not None
    both = refusal.resets(data, header)
    assert both is not None
    back, on = both
    assert (parsed(back).source, parsed(back).destination) == (header.destination, header.source)
    assert (parsed(on).source, parsed(on).destination) == (header.source, header.destination)
    sport, dport, sequence, acknowledged, _, flags = struct.unpack_from("!HHIIBB", back, at)
    assert (sport, dport, sequence, flags) == (443, 40000, 7000, refusal.RST), "what the sender waits for next"
    sport, dport, sequence, acknowledged, _, flags = struct.unpack_from("!HHIIBB", on, at)
    assert (sport, dport, sequence, acknowledged) == (40000, 443, 1000, 7000)
    assert flags == refusal.RST | refusal.ACK


def test_without_an_acknowledgement_the_reset_acknowledges_everything_that_was_sent() -> None:
    data = tcp("10.0.0.1", "10.0.0.2", b"123", sequence=1000, flags=0x02)
    header = ip.parse(data)
    assert header is not None
    back, _ = refusal.resets(data, header) or (b"", b"")
    sequence, acknowledged, _, flags = struct.unpack_from("!IIBB", back, 24)
    assert (sequence, acknowledged, flags) == (0, 1004, refusal.RST | refusal.ACK), "three bytes and SYN"


def test_a_reset_is_not_answered_with_a_reset() -> None:
    data = tcp("10.0.0.1", "10.0.0.2", flags=0x04)
    header = ip.parse(data)
    assert header is not None
    assert refusal.resets(data, header) is None


@pytest.mark.parametrize(("source", "destination"), FAMILIES)
def test_an_error_quotes_the_packet_and_comes_from_where_it_went(source: str, destination: str) -> None:
    data = (udp6 if ":" in source else udp4)(source, destination, b"x" * 2000)
    header = ip.parse(data)
    assert header is not None
    error = refusal.prohibited(data, header)
    assert error is not None
    answer = parsed(error)
    assert (answer.source, answer.destination) == (header.destination, header.source)
    kind = error[answer.offset : answer.offset + 2]
    assert kind == (b"\1\1" if ":" in source else b"\3\r")
    assert data.startswith(error[answer.offset + 8 :])
    assert len(error) <= 1280


@pytest.mark.parametrize(
    "data",
    [
        packet("10.0.0.1", "10.0.0.2", ip.ICMP, b"\3\1" + bytes(30)),
        packet("fd00::1", "fd00::2", ip.ICMPV6, b"\1\1" + bytes(46)),
        udp4("10.0.0.1", "224.0.0.251"),
        udp6("fd00::1", "ff02::fb"),
        udp4("10.0.0.1", "255.255.255.255"),
    ],
    ids=["icmp", "icmpv6", "multicast", "multicast-v6", "broadcast"],
)
def test_what_must_not_be_answered_is_not(data: bytes) -> None:
    header = ip.parse(data)
    assert header is not None
    assert refusal.prohibited(data, header) is None


@given(st.binary(min_size=20, max_size=200), st.sampled_from([4, 6]), st.sampled_from([ip.TCP, ip.UDP, 47]))
def test_every_packet_that_can_be_read_can_be_answered(data: bytes, version: int, protocol: int) -> None:
    raw = bytearray(data)
    raw[0] = version << 4 | (5 if version == 4 else raw[0] & 15)
    if version == 4:
        raw[2:4], raw[6:8], raw[9] = len(raw).to_bytes(2, "big"), b"\0\0", protocol
    else:
        raw += bytes(max(0, 60 - len(raw)))
        raw[4:6], raw[6] = (len(raw) - 40).to_bytes(2, "big"), protocol
    header = ip.parse(raw)
    if header is None:
        return
    error = refusal.prohibited(raw, header)
    if error is not None:
        parsed(error)
    if header.protocol == ip.TCP:
        for each in refusal.resets(raw, header) or ():
            parsed(each)
