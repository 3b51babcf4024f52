"""An initiation that somebody captured and sends again: it moves nothing, here, after a restart, or at another process."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.packet.drop import Drop
from gateway.wireguard import timestamps
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.messages import INITIATION, RESPONSE
from gateway.wireguard.timestamps import Timestamps
from tests.sim.wire import World, pair, udp4

A_TO_B, B_TO_A = udp4("10.0.0.1", "10.0.0.2"), udp4("10.0.0.2", "10.0.0.1")
STRANGER = ("203.0.113.66", 666)


def peer(node: Any, world: World) -> Any:
    return node.interface.status(now=world.now).peers[0]


def moved(node: Any, world: World) -> tuple[Any, ...]:
    status = peer(node, world)
    return status.endpoint, status.rx_bytes, status.tx_bytes, status.last_handshake


def captured() -> tuple[World, Any, Any, bytes]:
    world, a, b = pair()
    world.send(a, A_TO_B)
    return world, a, b, world.log[0][2]


def restarted(world: World, a: Any, kept: Timestamps | None = None) -> Any:
    """A new process with b's keys."""
    fresh = world.node(2, timestamps=kept)
    world.join(fresh, a)
    return fresh


def test_after_a_restart_without_memory_it_is_answered_once_and_moves_nothing() -> None:
    world, a, _, initiation = captured()
    fresh = restarted(world, a)
    before, at = moved(fresh, world), len(world.log)
    world.inject(STRANGER, fresh.address, initiation)
    assert [d[0] for _, to, d in world.log[at:] if to == STRANGER] == [RESPONSE]
    assert moved(fresh, world) == before == (a.address, 0, 0, 0)
    world.send(a, A_TO_B)
    world.advance(30)
    assert A_TO_B in fresh.received, "the true one connects all the same"
    assert peer(fresh, world).endpoint == a.address


def test_after_a_restart_with_its_timestamps_it_gets_no_answer_at_all() -> None:
    world, a, b, initiation = captured()
    fresh = restarted(world, a, b.timestamps)
    at = len(world.log)
    world.inject(STRANGER, fresh.address, initiation)
    assert world.log[at:] == []
    assert fresh.interface.drops == {Drop.HANDSHAKE_REPLAYED: 1}


def test_the_timestamps_are_kept_when_a_peer_is_removed_and_added_again() -> None:
    world, a, b, initiation = captured()
    b.interface.configure(_removal(a), now=world.now)
    world.join(b, a)
    at = len(world.log)
    world.inject(STRANGER, b.address, initiation)
    assert [d for _, to, d in world.log[at:] if to == STRANGER] == []


def _removal(node: Any) -> Any:
    return InterfaceConfig(peers=(PeerConfig(node.public, remove=True),))


def test_counters_endpoint_and_handshake_move_with_the_first_transport_packet() -> None:
    world, a, b = pair()
    held: list[bytes] = []
    world.tamper = lambda _s, to, data: held.append(data) or [] if data[0] == 4 else [data]
    world.send(a, A_TO_B)
    assert [d[0] for _, _, d in world.log] == [INITIATION, RESPONSE, 4]
    assert moved(b, world)[1:] == (0, 0, 0)
    world.inject(STRANGER, b.address, held[0])
    endpoint, received, sent, handshake = moved(b, world)
    assert (endpoint, received, sent) == (STRANGER, 148 + len(held[0]), 92)
    assert handshake > 0


def test_a_stranger_who_answers_first_with_a_copy_does_not_take_the_session_over() -> None:
    """The copy arrives before the original: the response goes astray, and the next attempt repairs it."""
    world, a, b = pair()
    first: list[bytes] = []
    world.tamper = lambda _s, to, data: first.append(data) or [] if data[0] == INITIATION and not first else [data]
    world.send(a, A_TO_B)
    world.inject(STRANGER, b.address, first[0])
    assert moved(b, world) == (a.address, 0, 0, 0)
    world.advance(6)
    assert b.received == [A_TO_B]


def test_the_longest_unused_timestamp_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamps, "MAX_TIMESTAMPS", 3)
    kept = Timestamps()
    for name in (b"a", b"b", b"c", b"a", b"d"):
        kept.note(name, b"t")
    assert [name for name in (b"a", b"b", b"c", b"d") if kept.latest(name)] == [b"a", b"c", b"d"]
