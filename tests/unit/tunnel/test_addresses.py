"""The host's addresses as rtnetlink tells them, and any bytes in their place."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel.addresses import RTM_DELADDR, RTM_NEWADDR, Address, parse


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
    ((_, found),) = parse(message(RTM_NEWADDR, 3, 32, address="10.0.0.2", local="10.0.0.1"))
    assert found.packed == ip_address("10.0.0.1").packed


def test_other_messages_are_passed_over() -> None:
    assert list(parse(message(3, 0, 0) + message(16, 1, 24, local="10.0.0.1"))) == []


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_or_hang(data: bytes) -> None:
    assert len(list(parse(data))) <= len(data)
