"""What a key of a check asks of one fact: judged with its reasons (`look`), or only whether it holds (`screen`).

Both say the same, and a property of the tests holds them together: a screen that gives an instant has looked at a fact with
which `look` finds no fault before that instant. A screen never says why something fails; whatever it cannot affirm is
looked at again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.wire import Fact
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture

ALWAYS = datetime.max.replace(tzinfo=UTC)
"""Time alone does not end it."""

Screen = Callable[[Mapping[str, Fact], datetime, Posture], datetime | None]
"""Says until when something holds by time alone; None, or any error: it does not, or that cannot be told so quickly."""

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Ask(ABC):
    """One question about one fact. What is `wanted` stands in the policy, under the key that the question belongs to."""

    fact: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The facts that the answer depends on."""
        return (self.fact,)

    @abstractmethod
    def look(self, look: Examination, key: str, wanted: Any) -> None:
        """Read the fact and note what is wrong with it."""

    @abstractmethod
    def screen(self, wanted: Any) -> Screen:
        """Make the quick answer."""


@dataclass(frozen=True, slots=True)
class AskOfValue(Ask):
    """A question whose answer is in the value alone: time does not change it."""

    @abstractmethod
    def test(self, wanted: Any) -> Test:
        """Make what says of a value whether it is sound and as wanted."""

    def screen(self, wanted: Any) -> Screen:
        name, holds = self.fact, self.test(wanted)

        def screen(facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            fact = facts.get(name)
            return ALWAYS if fact is not None and fact.absent is None and holds(fact.value) else None

        return screen


def unsure(_facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
    """The screen of what is always looked at."""
    return None


def together(screens: list[Screen]) -> Screen:
    """All of them hold, for as long as the first of them does."""
    if len(screens) == 1:
        return screens[0]

    def screen(facts: Mapping[str, Fact], now: datetime, posture: Posture) -> datetime | None:
        soonest = ALWAYS
        for one in screens:
            end = one(facts, now, posture)
            if end is not ALWAYS:
                if end is None:
                    return None
                if end < soonest:  # noqa: PLR1730 - min() costs as much as the question
                    soonest = end
        return soonest

    return screen


def either(screens: list[Screen]) -> Screen:
    """One of them holds. Only what time does not end: how long the whole holds depends on them all."""

    def screen(facts: Mapping[str, Fact], now: datetime, posture: Posture) -> datetime | None:
        return ALWAYS if any(one(facts, now, posture) is ALWAYS for one in screens) else None

    return screen
