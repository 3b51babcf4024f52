"""The replay window where implementations err (RFC 6479; the cases that the kernel's own self-test looks at)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gateway.wireguard.keypair import ReplayWindow
from gateway.wireguard.spec import REJECT_AFTER_MESSAGES, WINDOW

EDGE = WINDOW + 1
"""The first distance that is too far."""
NEW, OLD = True, False

SCRIPT = [
    # the beginning: zero is a counter like any other
    (0, NEW), (1, NEW), (1, OLD), (9, NEW), (8, NEW), (7, NEW), (7, OLD),
    # a jump of just more than the window, and what lies around its far edge
    (EDGE, NEW), (EDGE - 1, NEW), (EDGE - 1, OLD), (EDGE - 2, NEW), (2, NEW), (2, OLD), (EDGE + 16, NEW), (3, OLD),
    (EDGE + 16, OLD),
    # far ahead: everything before is forgotten, the last one inside is not
    (EDGE * 4, NEW), (EDGE * 4 - (EDGE - 1), NEW), (10, OLD), (EDGE * 4 - EDGE, OLD), (EDGE * 4 - (EDGE + 1), OLD),
    (EDGE * 4 - (EDGE - 2), NEW), (EDGE * 4 + 1 - EDGE, OLD), (0, OLD),
    # the end of the counter
    (REJECT_AFTER_MESSAGES, OLD), (REJECT_AFTER_MESSAGES - 1, NEW), (REJECT_AFTER_MESSAGES, OLD),
    (REJECT_AFTER_MESSAGES - 1, OLD), (REJECT_AFTER_MESSAGES - 2, NEW), (REJECT_AFTER_MESSAGES + 1, OLD),
    (REJECT_AFTER_MESSAGES + 2, OLD), (REJECT_AFTER_MESSAGES - 2, OLD), (REJECT_AFTER_MESSAGES - 3, NEW), (0, OLD),
    (2**64 - 1, OLD),
]  # fmt: skip


@pytest.mark.parametrize("batched", [False, True], ids=["one-by-one", "as-trains-of-one"])
def test_the_script_of_edges(batched: bool) -> None:
    window = ReplayWindow()
    for step, (counter, expected) in enumerate(SCRIPT):
        assert window.fresh(counter) is expected, (step, counter)
        if batched and expected:
            window.accept_all([counter])
        else:
            assert window.accept(counter) is expected, (step, counter)


UP, DOWN = range(1, WINDOW + 1), range(WINDOW, 0, -1)
SWEEPS: dict[str, tuple[Iterable[int], Iterable[int], list[int]]] = {
    # first, then, and which of `then` are refused
    "up, and zero still fits behind": (UP, [0, 0], [0]),
    "from two up, and zero is out": (range(2, EDGE + 1), [1, 0], [0]),
    "down": (range(EDGE, 0, -1), [0, EDGE + 1], [0]),
    "down without the last": (range(EDGE, 1, -1), [0, 1], [0]),
    "down from the top, then up again": (DOWN, [*UP, 0, WINDOW + 1], list(UP)),
    "up, then one by one behind": (range(0, 2 * WINDOW, 2), range(2 * WINDOW - 1, WINDOW - 3, -2), []),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_in_both_directions(name: str) -> None:
    first, then, refused = SWEEPS[name]
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in first)
    answers = [(counter, window.accept(counter)) for counter in then]
    seen_twice = [counter for counter, fresh in answers if not fresh]
    assert seen_twice == refused


@pytest.mark.parametrize("size", [1, 2, 63, 64, WINDOW, WINDOW + 1, WINDOW + 2, 3 * WINDOW])
def test_a_train_is_remembered_like_its_datagrams_one_by_one(size: int) -> None:
    train, alone = ReplayWindow(), ReplayWindow()
    counters = list(range(7, 7 + size))
    train.accept_all(counters)
    for counter in counters:
        alone.accept(counter)
    for counter in range(10 + size):
        assert train.fresh(counter) is alone.fresh(counter), counter
