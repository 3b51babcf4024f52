"""Crypto-routing: fixed cases where a trie goes wrong, and random tables against a list that is searched from end to end."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest

from gateway.packet.prefixes import Network, PrefixTable
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.uapi import parse_set
from tests.sim.wire import World

TABLE = {
    "192.168.4.0/24": "a", "192.168.4.4/32": "b", "192.168.0.0/16": "c", "192.95.5.64/27": "d", "192.95.5.65/27": "c",
    "0.0.0.0/0": "e", "64.15.112.0/20": "g", "64.15.123.211/25": "f", "10.0.0.0/25": "a", "10.0.0.128/25": "b",
    "10.1.0.0/30": "a", "10.1.0.4/30": "b", "10.1.0.8/29": "c", "10.1.0.16/29": "d", "255.255.255.255/32": "h",
    "2607:5300:6006:6b00::/64": "d", "2607:5300:6006:6b00::c05f:543/128": "c", "2404:6800:4004:800::/58": "a",
    "2404:6800:4004:806::/64": "b", "2404:6800:4004:806::1006/128": "c", "::/0": "e", "ffff::/16": "f", "::1/128": "g",
}  # fmt: skip
LOOKUPS = {
    "192.168.4.20": "a", "192.168.4.0": "a", "192.168.4.4": "b", "192.168.200.182": "c", "192.95.5.68": "c",
    "192.95.5.96": "e", "64.15.116.26": "g", "64.15.123.128": "f", "64.15.123.127": "g", "10.0.0.127": "a",
    "10.0.0.128": "b", "10.1.0.3": "a", "10.1.0.7": "b", "10.1.0.15": "c", "10.1.0.23": "d", "10.1.0.24": "e",
    "255.255.255.255": "h", "255.255.255.254": "e", "0.0.0.0": "e",
    "2607:5300:6006:6b00::": "d", "2607:5300:6006:6b00::c05f:543": "c", "2607:5300:6006:6b01::": "e",
    "2404:6800:4004:806::1006": "c", "2404:6800:4004:806::1007": "b", "2404:6800:4004:83f::": "a",
    "2404:6800:4004:840::": "e", "ffff:ffff::": "f", "fffe::": "e", "::1": "g", "::2": "e",
}  # fmt: skip


def filled() -> PrefixTable[str]:
    table: PrefixTable[str] = PrefixTable()
    for text, owner in TABLE.items():
        table[ip_network(text, strict=False)] = owner
    return table


@pytest.mark.parametrize(("address", "owner"), LOOKUPS.items())
def test_the_fixed_cases(address: str, owner: str) -> None:
    assert filled().longest(ip_address(address).packed) == owner


def test_without_the_default_an_address_outside_belongs_to_nobody_and_families_stay_apart() -> None:
    table = filled()
    del table[ip_network("0.0.0.0/0")]
    assert table.longest(ip_address("8.8.8.8").packed) is None
    assert table.longest(ip_address("2001:4860::").packed) == "e"


def test_a_network_that_is_given_again_changes_its_owner_and_keeps_nothing_of_the_old_one() -> None:
    table = filled()
    table[ip_network("10.0.0.0/25")] = "z"
    assert table.longest(ip_address("10.0.0.1").packed) == "z"
    del table[ip_network("10.0.0.0/25")]
    assert table.longest(ip_address("10.0.0.1").packed) == "e"


@pytest.mark.parametrize("bits", [32, 128])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_table_answers_like_a_list(bits: int, seed: int) -> None:
    dice = random.Random(seed)
    table: PrefixTable[int] = PrefixTable()
    listed: dict[Network, int] = {}
    base = dice.getrandbits(bits)
    near = [base ^ dice.getrandbits(dice.randrange(1, bits)) for _ in range(300)]
    for owner, number in enumerate(near):
        network = ip_network((number.to_bytes(bits // 8, "big"), dice.randrange(bits + 1)), strict=False)
        table[network] = owner
        listed[network] = owner
    for network in dice.sample(list(listed), len(listed) // 3):
        del table[network]
        del listed[network]
    searched = sorted(listed, key=lambda network: -network.prefixlen)
    for number in (*near, *(each ^ 1 << dice.randrange(bits) for each in near)):
        found = next((n for n in searched if int(n.network_address) == number & int(n.netmask)), None)
        expected = None if found is None else listed[found]
        assert table.longest(number.to_bytes(bits // 8, "big")) == expected


def test_removing_a_peer_removes_all_of_its_networks_and_no_other() -> None:
    world = World()
    node = world.node(1)
    owners = [bytes([number]) * 32 for number in (7, 8)]
    for owner, texts in zip(
        owners, (("10.0.0.0/24", "10.0.1.0/24", "fd00::/64"), ("10.0.0.5/32", "::/0")), strict=True
    ):
        networks = tuple(map(ip_network, texts))
        node.interface.configure(InterfaceConfig(peers=(PeerConfig(owner, allowed_ips=networks),)), now=world.now)
    node.interface.configure(InterfaceConfig(peers=(PeerConfig(owners[0], remove=True),)), now=world.now)
    routes = node.interface._state.routes
    assert routes.longest(ip_address("10.0.0.6").packed) is None
    for address in ("10.0.0.5", "fd00::1"):
        found = routes.longest(ip_address(address).packed)
        assert found is not None
        assert found.public_key == owners[1]


def uapi(world: World, node: object, *lines: str) -> tuple[str, ...]:
    node.interface.configure(parse_set([f"public_key={'07' * 32}", *lines]), now=world.now)  # type: ignore[attr-defined]
    return tuple(str(n) for n in node.interface.status(now=world.now).peers[0].allowed_ips)  # type: ignore[attr-defined]


def test_allowed_ips_are_added_and_taken_away_one_by_one() -> None:
    """wireguard-go and Linux 6.16 know `allowed_ip=-<cidr>`: the rest of the peer's traffic is never interrupted."""
    world = World()
    node = world.node(1)
    assert uapi(world, node, "allowed_ip=10.0.0.0/24", "allowed_ip=10.0.1.0/24") == ("10.0.0.0/24", "10.0.1.0/24")
    assert uapi(world, node, "allowed_ip=-10.0.0.0/24", "allowed_ip=10.0.2.0/24") == ("10.0.1.0/24", "10.0.2.0/24")
    assert uapi(world, node, "allowed_ip=-10.9.9.9/32") == ("10.0.1.0/24", "10.0.2.0/24")
    assert uapi(world, node, "allowed_ip=10.0.3.0/24", "allowed_ip=-10.0.3.0/24") == ("10.0.1.0/24", "10.0.2.0/24")
    assert uapi(world, node, "allowed_ip=-10.0.1.0/24", "allowed_ip=10.0.1.0/24") == ("10.0.2.0/24", "10.0.1.0/24")


def test_nobody_can_take_away_what_is_anothers() -> None:
    world = World()
    node = world.node(1)
    uapi(world, node, "allowed_ip=10.0.0.0/24")
    thief = parse_set([f"public_key={'08' * 32}", "allowed_ip=-10.0.0.0/24"])
    node.interface.configure(thief, now=world.now)
    found = node.interface._state.routes.longest(ip_address("10.0.0.1").packed)
    assert found is not None
    assert found.public_key == bytes([7]) * 32


def test_very_many_allowed_ips_are_one_request() -> None:
    """130,561 networks, as many as the kernel's test puts into one configuration; in quadratic time it would take minutes."""
    lines = [f"public_key={'07' * 32}"]
    lines += [f"allowed_ip={a}.{b}.0.0/20" for a in range(1, 256) for b in range(256)]
    lines += [f"allowed_ip=fd{a:02x}:{b:x}::/32" for a in range(255) for b in range(256)]
    lines.append("allowed_ip=0.0.0.0/0")
    lines = lines[:130_562]
    world = World()
    node = world.node(1)
    node.interface.configure(parse_set(lines), now=world.now)
    assert len(node.interface.status(now=world.now).peers[0].allowed_ips) == 130_561
