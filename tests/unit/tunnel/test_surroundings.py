"""Addresses and links as rtnetlink tells them, and any bytes in their place."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel.surroundings import RTM_DELADDR, RTM_NEWADDR, RTM_NEWLINK, Address, Link, Surroundings, parse


def message(kind: int, interface: int, prefix: int, **attributes: str) -> bytes:
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, interface)
    for name, text in attributes.items():
        packed = ip_address(text).packed
        body += struct.pack("=HH", 4 + len(packed), {"address": 1, "local": 2, "cache": 6}[name]) + packed
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_addresses_that_come_and_go_are_read_in_order() -> None:
    data = message(RTM_NEWADDR, 3, 24, address="10.0.0.1", local="10.0.0.1") + message(
        RTM_DELADDR, 4, 64, address="fd00::1"
    )
    assert list(parse(data)) == [
        (True, Address(3, ip_address("10.0.0.1").packed, 24)),
        (False, Address(4, ip_address("fd00::1").packed, 64)),
    ]


def test_of_a_point_to_point_link_our_own_end_is_meant() -> None:
    ((there, found),) = parse(message(RTM_NEWADDR, 3, 32, address="10.0.0.2", local="10.0.0.1"))
    assert there
    assert found.packed == ip_address("10.0.0.1").packed


def test_the_mtu_of_a_link_is_read() -> None:
    body = struct.pack("=BxHiII", 0, 0, 7, 0, 0) + struct.pack("=HHI", 8, 4, 1300)
    assert list(parse(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, 0, 1, 0) + body)) == [Link(7, 1300)]


def test_other_messages_are_passed_over() -> None:
    assert list(parse(message(3, 0, 0) + message(24, 1, 24, local="10.0.0.1"))) == []


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_or_hang(data: bytes) -> None:
    assert len(list(parse(data))) <= len(data)


def known(*addresses: tuple[int, str, int]) -> Surroundings:
    """What a tunnel on interface 5 knows, without a socket."""
    made = Surroundings.__new__(Surroundings)
    made._interface = 5
    made._known = {Address(interface, ip_address(text).packed, prefix) for interface, text, prefix in addresses}
    return made


def test_every_address_is_guarded_and_the_network_of_the_tunnels_own_interface() -> None:
    found = known((1, "127.0.0.1", 8), (2, "198.51.100.7", 24), (5, "100.96.0.1", 16), (5, "fd53::1", 64)).guarded()
    assert {str(each) for each in found} == {
        "127.0.0.1/32", "198.51.100.7/32", "100.96.0.1/32", "100.96.0.0/16", "fd53::1/128", "fd53::/64",
    }  # fmt: skip


def test_a_host_has_several_addresses_when_strangers_can_reach_two_of_one_family() -> None:
    usual = [(1, "127.0.0.1", 8), (1, "::1", 128), (2, "fe80::1", 64), (5, "100.96.0.1", 16), (2, "198.51.100.7", 24)]
    assert not known(*usual).several()
    assert not known(*usual, (2, "2001:db8::1", 64)).several()
    assert known(*usual, (3, "10.20.0.1", 24)).several()
    assert known(*usual, (2, "2001:db8::1", 64), (2, "2001:db8::2", 64)).several()


class Overrun:
    """A netlink socket that has lost messages, and cannot be asked either."""

    def recv(self, _size: int) -> bytes:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    def send(self, _data: bytes) -> int:
        raise OSError(errno.ENOBUFS, "No buffer space available")


def test_lost_messages_neither_end_the_tunnel_nor_open_what_was_guarded() -> None:
    host = known((2, "198.51.100.7", 24))
    host.sock = Overrun()  # type: ignore[assignment]
    host.read()
    assert {str(each) for each in host.guarded()} == {"198.51.100.7/32"}
