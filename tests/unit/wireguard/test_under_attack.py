"""A flood of handshakes (SECURITY.md L-06): what a stranger can make us do, and who is served all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.packet.drop import Drop
from gateway.wireguard import handshaking, noise
from gateway.wireguard.cookie import CookieJar
from gateway.wireguard.messages import COOKIE_REPLY, INITIATION, RESPONSE, SIZES
from tests.sim.wire import World, pair, udp4

RATE = 10_000
A_TO_B = udp4("10.0.0.1", "10.0.0.2")


class Dh:
    """Counts Diffie-Hellmans."""

    def __init__(self) -> None:
        self.count = 0
        self._real = noise.dh

    def __call__(self, private: bytes, public: bytes) -> bytes:
        self.count += 1
        return self._real(private, public)


@pytest.fixture
def dh(monkeypatch: pytest.MonkeyPatch) -> Dh:
    counter = Dh()
    monkeypatch.setattr(noise, "dh", counter)
    return counter


def forged(public: bytes, number: int) -> bytes:
    """An initiation of rubbish with a sound mac1."""
    body = INITIATION.to_bytes(4, "little") + number.to_bytes(4, "little")
    return CookieJar(public).sign(body.ljust(SIZES[INITIATION] - 32, b"\7"), now=0.0)


def flood(world: World, target: Any, seconds: float, rate: int = RATE) -> Iterator[int]:
    """Forged initiations, RATE a second, each from another source; yields after every hundredth."""
    for number in range(int(rate * seconds)):
        world.now += 1 / rate
        source = (f"198.18.{number >> 8 & 255}.{number & 255}", 1024 + number // 65536)
        world.inject(source, target.address, forged(target.public, number))
        if number % 100 == 0:
            yield number


def test_cookies_are_asked_for_within_100_ms_and_from_then_on_no_mathematics_without_one(dh: Dh) -> None:
    world, _, b = pair()
    began = world.now
    for _ in flood(world, b, 0.1):
        if b.interface.drops[Drop.COOKIE_REQUIRED]:
            break
    assert b.interface.drops[Drop.COOKIE_REQUIRED], "within a tenth of a second"
    assert world.now - began <= 0.1
    before, replies = dh.count, len(world.log)
    for _ in flood(world, b, 0.3):
        pass
    assert dh.count == before
    assert {d[0] for _, _, d in world.log[replies:]} == {COOKIE_REPLY}
    assert all(len(d) < SIZES[INITIATION] for _, _, d in world.log[replies:])


def test_of_a_great_flood_only_a_part_is_answered_at_all() -> None:
    world, _, b = pair()
    for _ in flood(world, b, 0.9):
        pass
    answered, dropped = b.interface.drops[Drop.COOKIE_REQUIRED], b.interface.drops[Drop.HANDSHAKE_RATE]
    assert answered == len(world.log) == pytest.approx(3000 + 0.9 * 3000, rel=0.05)
    assert answered + dropped >= 0.98 * 0.9 * RATE


def test_a_client_with_its_cookie_connects_during_the_flood() -> None:
    world, a, b = pair()
    for _ in flood(world, b, 0.05):
        pass
    at = len(world.log)
    a.interface.send(memoryview(bytes(10) + A_TO_B), now=world.now)
    for _ in flood(world, b, 6.0, rate=1000):  # that is load as well, and quicker to simulate
        a.interface.handle_deadline(now=world.now)
        if b.received:
            break
    assert b.received == [A_TO_B]
    kinds = [d[0] for source, _, d in world.log[at:] if source == a.address]
    assert kinds[:2] == [INITIATION, INITIATION], "the paper has it wait five seconds before it sends the cookie"


def test_a_client_whose_session_we_know_is_served_at_once_during_the_flood() -> None:
    world, a, b = pair()
    world.send(a, A_TO_B)
    for _ in flood(world, b, 0.05):
        pass
    world.now += 130 - 0.05
    for _ in flood(world, b, 0.05):
        pass
    at = len(world.log)
    world.send(a, A_TO_B)
    answers = [d[0] for source, to, d in world.log[at:] if (source, to) == (b.address, a.address)]
    assert RESPONSE in answers
    assert COOKIE_REPLY not in answers


def test_who_spoofs_the_address_of_a_session_gets_its_share_and_no_more(dh: Dh) -> None:
    world, a, b = pair()
    world.send(a, A_TO_B)
    for _ in flood(world, b, 0.05):
        pass
    before = dh.count
    for number in range(2000):
        world.now += 1 / RATE
        world.inject(a.address, b.address, forged(b.public, number))
    assert dh.count - before <= 10, "the limit of one source: a burst of five and twenty a second"


def test_a_session_that_runs_is_not_disturbed_and_memory_stays_flat() -> None:
    world, a, b = pair()
    world.send(a, A_TO_B)
    slots = len(b.interface._state.slots)
    for _ in flood(world, b, 0.2):
        world.send(a, A_TO_B)
    assert len(b.received) == 21
    assert len(b.interface._state.slots) == slots
    assert handshaking.source_bytes.cache_info().maxsize == 4096


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.binary(max_size=400), st.booleans())
def test_no_answer_to_a_stranger_is_longer_than_its_question(kind: int, data: bytes, whole: bool) -> None:
    world, _, b = pair()
    size = SIZES.get(kind, 64) if whole else len(data)
    datagram = CookieJar(b.public).sign(
        kind.to_bytes(4, "little") + data[: size - 36].ljust(max(size - 36, 0), b"\0"), now=0
    )
    for _ in range(150):
        at = len(world.log)
        world.inject(("203.0.113.66", 666), b.address, datagram)
        assert sum(len(d) for _, _, d in world.log[at:]) <= len(datagram)
