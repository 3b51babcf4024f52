"""A rate is held within 5 % over a second, by TCP too, and nobody waits long for it."""

from __future__ import annotations

import heapq

import pytest

from gateway.wireguard.pace import AHEAD, LONGEST, Pace

PACKET, SUPER = 1_400, 62_000


class Line:
    """A pace with a clock: what it lets through, and when."""

    def __init__(self, bits: int) -> None:
        self.pace: Pace[tuple[float, int]] = Pace(bits)
        self.passed: list[tuple[float, float, int]] = []

    def offer(self, size: int, *, now: float) -> bool:
        """Say whether it passes, now or later."""
        self.until(now)
        if self.pace.admit(size, now=now):
            self.passed.append((now, now, size))
            return True
        return self.pace.hold((now, size), size, now=now)

    def until(self, end: float) -> None:
        while (turn := self.pace.next_turn()) <= end:
            late = int(turn * 1000 + 1) / 1000  # as epoll's timeout: at the next whole millisecond
            if late > end:
                return
            self.passed += [(came, late, size) for came, size in self.pace.due(now=late)]

    def bits_in(self, begin: float, end: float) -> int:
        return sum(size * 8 for _, at, size in self.passed if begin <= at < end)


@pytest.mark.parametrize(
    ("bits", "size"), [(1_000_000, 100), (1_000_000, PACKET), (20_000_000, PACKET), (20_000_000, SUPER), (10**9, SUPER)]
)
@pytest.mark.parametrize("load", [1.05, 3.0])
def test_every_second_of_an_overload_carries_the_rate(bits: int, size: int, load: float) -> None:
    line, count = Line(bits), int(3 * bits * load / 8 / size)
    step = size * 8 / bits / load
    for number in range(count):
        line.offer(size, now=number * step)
    last = count * step
    for begin in (0.0, last / 3, last / 2):
        end = min(begin + 1.0, last)
        assert line.bits_in(begin, end) == pytest.approx(bits * (end - begin), rel=0.05)
    assert max(at - came for came, at, _ in line.passed) < LONGEST + 0.002
    assert [came for came, _, _ in line.passed] == sorted(came for came, _, _ in line.passed)


def test_what_stays_below_the_rate_never_waits_and_is_never_dropped() -> None:
    line = Line(10_000_000)
    for number in range(2_000):
        assert line.offer(PACKET, now=number * PACKET * 8 / 9_000_000)
    assert all(at == came for came, at, _ in line.passed)


def test_idle_time_is_not_saved_up() -> None:
    line = Line(8_000_000)
    line.offer(PACKET, now=0.0)
    began = 100.0
    while line.offer(PACKET, now=began):
        pass
    line.until(began + 1)
    at_once = sum(size for _, at, size in line.passed if at == began)
    assert at_once <= 1_000_000 * AHEAD + 2 * PACKET


@pytest.mark.parametrize("bits", [2_000_000, 50_000_000])
@pytest.mark.parametrize("round_trip", [0.002, 0.02, 0.06])
def test_a_tcp_fills_the_line(bits: int, round_trip: float) -> None:
    """RFC 5681 with CUBIC's factor of 0.7, fast recovery within a round trip, no pacing, losses at our queue alone."""
    line, window, flying = Line(bits), 10.0, 0
    answers: list[tuple[float, bool]] = []
    now, recovered, end = 0.0, 0.0, 12.0
    threshold, taken = float("inf"), 0
    while now < end:
        while flying < int(window):
            fits = line.offer(PACKET, now=now)
            flying += 1
            if not fits:
                heapq.heappush(answers, (now + round_trip + LONGEST, False))
        line.until(now)
        for _came, at, _ in line.passed[taken:]:
            heapq.heappush(answers, (at + round_trip, True))
        taken = len(line.passed)
        now = min(answers[0][0] if answers else end, max(line.pace.next_turn(), now) + 0.001)
        while answers and answers[0][0] <= now:
            _, arrived = heapq.heappop(answers)
            flying -= 1
            if arrived:
                window += 1.0 if window < threshold else 1 / window
            elif now >= recovered:
                threshold = window = max(window * 0.7, 2.0)
                recovered = now + round_trip + LONGEST
    for second in (8, 9, 10):
        assert line.bits_in(second, second + 1) == pytest.approx(bits, rel=0.05)
