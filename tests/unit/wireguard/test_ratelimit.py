"""The handshake limiter against a table of times, and at its limits (the kernel's self-test asks the same questions)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.wireguard import ratelimit
from gateway.wireguard.ratelimit import AnswerLimiter, HandshakeLimiter

STEP = 1 / 20
TABLE = [
    # seconds since the step before, and whether it passes
    (0, True), (0, True), (0, True), (0, True), (0, True), (0, False),  # a burst of five
    (STEP, True), (0, False),  # one token every twentieth of a second
    (2 * STEP, True), (0, True), (0, False),
    (3 * STEP, True), (0, True), (0, True), (0, False),
    (STEP / 2, False), (STEP / 2, True), (0, False),  # halves add up, and a refusal costs nothing
    (100 * STEP, True), (0, True), (0, True), (0, True), (0, True), (0, False),  # a long rest earns one burst, not two
]  # fmt: skip
V4 = ["28.0.0.1", "28.0.0.2", "29.0.0.1"]
V6 = ["2001:db8:1:2::1", "2001:db8:1:3::1", "fd00::1"]


def packed(address: str) -> bytes:
    return ip_address(address).packed


@pytest.mark.parametrize("address", [V4[0], V6[0]])
def test_the_table_of_times(address: str) -> None:
    limiter, now = HandshakeLimiter(), 50.0
    for step, (after, passes) in enumerate(TABLE):
        now += after + (1e-9 if after else 0)
        assert limiter.allow(packed(address), now=now) is passes, step


@pytest.mark.parametrize("others", [V4, V6])
def test_one_source_does_not_spend_what_is_anothers(others: list[str]) -> None:
    limiter = HandshakeLimiter()
    while limiter.allow(packed(others[0]), now=1.0):
        pass
    for other in others[1:]:
        assert limiter.allow(packed(other), now=1.0)


def test_all_of_a_64_bit_prefix_is_one_source_and_ipv4_is_never_one_with_ipv6() -> None:
    limiter = HandshakeLimiter()
    passed = [limiter.allow(packed(f"2001:db8:1:2::{number:x}"), now=1.0) for number in range(10)]
    assert passed == [True] * 5 + [False] * 5
    assert limiter.allow(packed("32.1.13.184"), now=1.0), "the first four bytes of that prefix, as an IPv4 address"


def test_a_full_table_refuses_strangers_and_serves_those_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MAX_SOURCES", 100)
    limiter = HandshakeLimiter()
    assert all(limiter.allow(packed(f"10.0.0.{number}"), now=1.0) for number in range(100))
    assert not limiter.allow(packed("10.0.1.0"), now=1.0)
    assert limiter.allow(packed("10.0.0.7"), now=1.0)


def test_a_second_later_the_table_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MAX_SOURCES", 100)
    limiter = HandshakeLimiter()
    for number in range(100):
        limiter.allow(packed(f"10.0.0.{number}"), now=1.0)
    assert limiter.allow(packed("10.0.1.0"), now=2.0)
    assert len(limiter._buckets) == 1


def test_the_table_never_grows_beyond_its_limit_under_spoofed_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "MAX_SOURCES", 1000)
    limiter = HandshakeLimiter()
    for number in range(10_000):
        limiter.allow(number.to_bytes(4, "big"), now=number / 100_000)
    assert len(limiter._buckets) == 1000


def test_answers_to_refusals_come_in_a_burst_and_then_twenty_a_second() -> None:
    limiter = AnswerLimiter()
    assert sum(limiter.allow(now=1.0) for _ in range(100)) == 20
    assert sum(limiter.allow(now=1.0 + n / 1000) for n in range(1, 1001)) == pytest.approx(20, abs=1)
