"""F-25: a forked child has no key of its parent's, so no nonce is ever used by both."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

from gateway.packet.offload import PLAIN
from gateway.wireguard.config import InterfaceConfig
from tests.sim.wire import World, pair, udp4

A_TO_B = udp4("10.0.0.1", "10.0.0.2")


def in_child(look: Callable[[], Any]) -> Any:
    """What a forked child finds; None when it died of the question."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, pickle.dumps(look()))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return pickle.loads(told) if told else None


def connected() -> tuple[World, Any, Any]:
    world, a, b = pair()
    world.send(a, A_TO_B)
    assert b.received == [A_TO_B]
    return world, a, b


def test_the_child_has_no_private_key_no_peer_and_no_index() -> None:
    _, a, b = connected()

    def look() -> list[Any]:
        return [(n.interface.status(now=0).private_key, n.interface.status(now=0).peers, n.interface._state.slots) for n in (a, b)]  # fmt: skip

    assert in_child(look) == [(None, (), {}), (None, (), {})]


def test_the_child_sends_nothing_under_the_parents_keys_not_even_what_was_queued() -> None:
    world, a, _ = connected()
    a.interface.send(memoryview(PLAIN + A_TO_B), now=world.now)

    def look() -> list[Any]:
        queued = a.interface.transmits()
        a.interface.send(memoryview(PLAIN + A_TO_B), now=world.now)
        a.interface.handle_deadline(now=world.now + 1000)
        return [*queued, *a.interface.transmits()]

    assert in_child(look) == []


def test_the_child_cannot_open_what_comes_for_the_parent() -> None:
    world, a, b = connected()
    b.interface.send(memoryview(PLAIN + udp4("10.0.0.2", "10.0.0.1")), now=world.now)
    (transmit,) = b.interface.transmits()
    train = b"".join(transmit.buffers)

    def look() -> list[Any]:
        return a.interface.receive(memoryview(train), transmit.segment, b.address, now=world.now)

    assert in_child(look) == []
    assert len(look()) == 1, "the parent can"


def test_the_parent_goes_on_as_if_nothing_had_happened() -> None:
    world, a, b = connected()
    handshakes = len(world.log)
    assert in_child(lambda: "forked") == "forked"
    world.send(a, A_TO_B)
    world.send(b, udp4("10.0.0.2", "10.0.0.1"))
    assert (len(b.received), len(a.received)) == (2, 1)
    assert len(world.log) == handshakes + 2, "no new handshake was needed"


def test_the_child_may_begin_anew_with_keys_of_its_own() -> None:
    world, a, _ = connected()

    def look() -> bytes | None:
        a.interface.configure(InterfaceConfig(private_key=bytes(range(32))), now=world.now)
        return a.interface.status(now=world.now).private_key

    assert in_child(look) is not None
