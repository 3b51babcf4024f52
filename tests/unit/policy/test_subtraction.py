"""Permits with holes, packet by packet: what is left is what was permitted and not denied, and never more."""

from __future__ import annotations

import random
from ipaddress import ip_address

from gateway.packet.permits import PROTOCOLS, Permit, Permits
from gateway.policy.subtraction import without


def ipv4(address: str) -> bool:
    return "." in address


def lets(permits: tuple[str, ...] | list[str], address: str, protocol: int, port: int) -> bool:
    compiled = Permits(map(Permit.parse, permits))
    return compiled.allow(ip_address(address).packed, protocol, port)


def test_a_hole_of_one_port_leaves_the_other_ports_protocols_and_addresses() -> None:
    left = without(["10.0.0.0/30"], ["10.0.0.2/32 tcp/22"])
    assert left == (
        "10.0.0.0/31", "10.0.0.2/32 icmp", "10.0.0.2/32 tcp/1-21", "10.0.0.2/32 tcp/23-65535", "10.0.0.2/32 udp", "10.0.0.3/32",
    )  # fmt: skip


def test_what_is_denied_whole_is_gone_and_what_is_elsewhere_stays() -> None:
    assert without(["10.0.0.0/24 tcp/443"], ["10.0.0.0/16"]) == ()
    assert without(["10.0.0.0/24 tcp/443"], ["10.1.0.0/16", "2001:db8::/32", "10.0.0.0/24 udp"]) == (
        "10.0.0.0/24 tcp/443",
    )


def test_no_rest_names_a_special_range_that_the_whole_did_not_mean() -> None:
    for whole, hole, special in (
        ("0.0.0.0/0", "225.0.0.0/8", "224.0.0.5"), ("::/0", "ff05::/16", "ff02::1"), ("0.0.0.0/0", "169.254.0.0/17", "169.254.200.1"),
        ("0.0.0.0/0", "224.0.0.5/32 udp/53", "224.0.0.5"),
    ):  # fmt: skip
        assert not lets([whole], special, PROTOCOLS["udp"], 1)
        assert not lets(without([whole], [hole]), special, PROTOCOLS["udp"], 1)


def test_what_is_left_is_what_was_permitted_and_is_not_denied() -> None:
    chance = random.Random(1)
    networks = [
        "10.0.0.0/29",
        "10.0.0.0/30",
        "10.0.0.4/31",
        "10.0.0.5/32",
        "0.0.0.0/0",
        "2001:db8::/126",
        "2001:db8::1/128",
    ]
    ports = ["", " tcp", " tcp/80", " tcp/70-90", " udp/1-65535", " udp", " icmp"]
    probes = [
        (address, protocol, port)
        for address in (*(f"10.0.0.{n}" for n in range(9)), "2001:db8::", "2001:db8::1", "2001:db8::5", "224.0.0.1")
        for protocol, port in ((6, 69), (6, 70), (6, 80), (6, 81), (6, 90), (17, 1), (17, 65535), (1, 0))
        if ipv4(address) or protocol != 1
    ]

    def drawn() -> list[str]:
        return [chance.choice(networks) + chance.choice(ports) for _ in range(chance.randint(1, 3))]

    for _ in range(300):
        permits, denied = drawn(), drawn()
        left = without(permits, denied)
        for probe in probes:
            was, hole = lets(permits, *probe), lets(denied, *probe)
            assert lets(left, *probe) == (was and not hole), (permits, denied, left, probe)
