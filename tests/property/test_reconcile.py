"""For all desired peers and all tunnels: what `diff` says makes the one equal the other, and says nothing when they are."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.reconcile import LEASE_TOLERANCE_MS, diff
from gateway.packet.permits import Permit
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.interface import Interface

KEYS = [bytes([n, *bytes(31)]) for n in range(9, 17)]
PERMITS = [
    Permit.parse(text)
    for text in ("10.0.0.1/32 tcp/80", "10.0.0.0/24", "10.0.1.0/24 udp", "fd00::/64 tcp/1-9", "10.9.0.0/16 icmp")
]
NOW = 1_000.0


@st.composite
def some_peers(draw: st.DrawFn) -> list[PeerConfig]:
    """Draw peers of which no two share an address, as the pool gives them."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
    places = draw(st.permutations(range(2, 2 + len(KEYS))))
    return [draw(one_peer(key, place)) for key, place in zip(keys, places, strict=False)]


@st.composite
def one_peer(draw: st.DrawFn, key: bytes, place: int) -> PeerConfig:
    rate = draw(st.sampled_from([0, 10**6, 20 * 10**6]))
    return PeerConfig(
        key,
        replace_allowed_ips=True,
        allowed_ips=(ip_network(f"100.96.0.{place}/32"), ip_network(f"fd53::{place:x}/128")),
        replace_permits=True,
        permits=tuple(sorted(draw(st.sets(st.sampled_from(PERMITS))), key=str)),
        lease_ms=draw(st.integers(1, 900_000)),
        rate_rx=rate,
        rate_tx=rate,
    )


PEERS = some_peers()


def tunnel(peers: list[PeerConfig]) -> Interface:
    interface = Interface(now=NOW, unix_time=0.0, entropy=bytes)
    interface.configure(InterfaceConfig(private_key=bytes([200, *bytes(30), 64]), peers=tuple(peers)), now=NOW)
    return interface


def shown(interface: Interface) -> dict[bytes, tuple[object, ...]]:
    return {
        p.public_key: (set(p.allowed_ips), None if p.permits is None else set(p.permits), p.rate_rx, p.rate_tx)
        for p in interface.status(now=NOW).peers
    }


def leases(interface: Interface) -> dict[bytes, int | None]:
    return {p.public_key: p.lease_ms for p in interface.status(now=NOW).peers}


@given(PEERS, PEERS)
def test_applying_the_diff_makes_the_tunnel_equal_what_is_desired(
    before: list[PeerConfig], after: list[PeerConfig]
) -> None:
    interface = tunnel(before)
    interface.configure(InterfaceConfig(peers=tuple(diff(after, interface.status(now=NOW).peers))), now=NOW)
    assert shown(interface) == shown(tunnel(after))
    wanted = {p.public_key: p.lease_ms or 0 for p in after}
    assert all(abs((leases(interface)[key] or 0) - ms) <= LEASE_TOLERANCE_MS for key, ms in wanted.items())
    assert diff(after, interface.status(now=NOW).peers) == []


@given(PEERS)
def test_there_is_nothing_to_say_about_equal_peers(peers: list[PeerConfig]) -> None:
    assert diff(peers, tunnel(peers).status(now=NOW).peers) == []


@given(PEERS, PEERS)
def test_what_takes_access_away_comes_before_what_gives_it(before: list[PeerConfig], after: list[PeerConfig]) -> None:
    status = {p.public_key: p for p in tunnel(before).status(now=NOW).peers}
    gives = []
    for change in diff(after, status.values()):
        there = status.get(change.public_key)
        gives.append(
            not change.remove
            and (there is None or (change.replace_permits and not set(change.permits) <= set(there.permits or ())))
        )
    assert gives == sorted(gives)


@given(PEERS, PEERS)
def test_a_tunnel_that_restarts_in_between_gets_no_peer_without_permits(
    before: list[PeerConfig], after: list[PeerConfig]
) -> None:
    changes = diff(after, tunnel(before).status(now=NOW).peers)
    assert all(p.permits is not None for p in tunnel(changes).status(now=NOW).peers)


@given(PEERS)
def test_a_stock_peer_is_stated_in_full(peers: list[PeerConfig]) -> None:
    stock = [replace(p, replace_permits=False, permits=(), lease_ms=None) for p in peers]
    interface = tunnel(stock)
    interface.configure(InterfaceConfig(peers=tuple(diff(peers, interface.status(now=NOW).peers))), now=NOW)
    assert all(p.permits is not None and p.lease_ms is not None for p in interface.status(now=NOW).peers)
