"""The IP header parser says who talks to whom, or refuses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.packet import ip
from tests.sim.wire import packet, tcp, udp4, udp6


def test_an_ipv4_packet_shows_addresses_protocol_and_ports():
    data = udp4("10.0.0.1", "10.0.0.2", sport=1234, dport=53)
    header = ip.parse(data)
    assert header is not None
    assert (header.source, header.destination) == (ip_address("10.0.0.1").packed, ip_address("10.0.0.2").packed)
    assert (header.protocol, header.offset, header.length) == (ip.UDP, 20, len(data))
    assert ip.ports(data, header) == (1234, 53)


def test_padding_behind_the_packet_is_not_part_of_it():
    data = udp6("fd00::1", "fd00::2")
    header = ip.parse(data + bytes(11))
    assert header is not None
    assert header.length == len(data)


@pytest.mark.parametrize(
    ("chain", "protocol"),
    [
        ((ip.HOP_BY_HOP,), ip.UDP),
        ((ip.HOP_BY_HOP, ip.DESTINATION_OPTIONS, ip.ROUTING), ip.UDP),
    ],
)
def test_ports_are_found_behind_extension_headers(chain, protocol):
    body = b"\x9c\x40\x00\x07" + bytes(8)
    for following in reversed([*chain[1:], protocol]):
        body = bytes([following, 0]) + bytes(6) + body
    data = packet("fd00::1", "fd00::2", chain[0], body)
    header = ip.parse(data)
    assert header is not None
    assert header.protocol == protocol
    assert ip.ports(data, header) == (40000, 7)


def test_a_chain_of_nine_extension_headers_is_refused():
    body = b"".join(bytes([ip.DESTINATION_OPTIONS, 0]) + bytes(6) for _ in range(9)) + bytes(20)
    assert ip.parse(packet("fd00::1", "fd00::2", ip.DESTINATION_OPTIONS, body)) is None


@pytest.mark.parametrize("offset", [0, 185])
def test_fragments_are_recognised_in_ipv4(offset):
    data = bytearray(udp4("10.0.0.1", "10.0.0.2", bytes(64)))
    data[4:6] = b"\x12\x34"
    data[6:8] = (0x2000 | offset).to_bytes(2, "big")
    header = ip.parse(data)
    assert header is not None
    assert header.identification == b"\x12\x34"
    assert header.later is (offset > 0)


@pytest.mark.parametrize("offset", [0, 1448])
def test_fragments_are_recognised_in_ipv6(offset):
    fragment = bytes([ip.UDP, 0]) + (offset | 1).to_bytes(2, "big") + b"abcd" + bytes(16)
    header = ip.parse(packet("fd00::1", "fd00::2", ip.FRAGMENT, fragment))
    assert header is not None
    assert header.identification == b"abcd"
    assert header.later is (offset > 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x45" + bytes(18),
        b"\x44" + bytes(30),  # header shorter than 20 bytes
        b"\x45\0\x00\x50" + bytes(40),  # says 80 bytes, has 44
        b"\x45\0\x00\x10" + bytes(40),  # says 16 bytes, less than its header
        b"\x50" + bytes(40),  # version 5
        b"\x60" + bytes(30),  # shorter than an IPv6 header
        b"\x60\0\0\0\x01\0" + bytes(34),  # says 256 bytes of payload, has none
        tcp("10.0.0.1", "10.0.0.2")[:2] + b"\x00\x1e" + tcp("10.0.0.1", "10.0.0.2")[4:],  # TCP cut after 10 bytes
    ],
)
def test_headers_that_lie_are_refused(data):
    assert ip.parse(data) is None


@pytest.mark.parametrize(
    "address", ["224.0.0.251", "255.255.255.255", "169.254.1.1", "127.0.0.1", "0.0.0.0", "ff02::fb", "fe80::1", "::1"]
)
def test_special_addresses_are_known(address):
    assert ip.special(ip_address(address).packed)


@pytest.mark.parametrize("address", ["10.0.0.1", "198.51.100.7", "2001:db8::1", "fd00::1"])
def test_ordinary_addresses_are_not_special(address):
    assert not ip.special(ip_address(address).packed)
