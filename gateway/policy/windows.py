"""Named windows of time: a window is open while the clock on the wall, in its zone, shows a time within it.

Around a change to or from summer time the clock on the wall jumps or repeats itself, and so does the window: what opens at
02:30 opens at 03:00 on the day that has no 02:30, and is open twice on the day that has two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic.dataclasses import dataclass

from gateway.policy.checks.check import STRICT

WEEK = timedelta(days=7)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Weeks are counted from here: a window without an edge in this week is looked at again in the next, everywhere alike."""

CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
DATE = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"
ZONE = r"^(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]+){1,2})$"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _clock(text: object) -> time:
    if isinstance(text, time):
        return text
    if not isinstance(text, str) or not re.fullmatch(CLOCK, text):
        raise ValueError("is not a time of day; allowed is for example 08:00 or 17:30")
    return time.fromisoformat(text)


def _date(text: object) -> date:
    if isinstance(text, date):
        return text
    try:
        if not isinstance(text, str) or not re.fullmatch(DATE, text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a day; allowed is for example 2026-12-24") from None


def _zone(text: object) -> ZoneInfo:
    if isinstance(text, ZoneInfo):
        return text
    try:
        if not isinstance(text, str) or not re.fullmatch(ZONE, text):
            raise ValueError
        return ZoneInfo(text)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("is not a time zone; allowed is for example Europe/Vienna or UTC") from None
    except KeyError:
        raise ValueError("is no time zone that is known here; allowed is for example Europe/Vienna or UTC") from None


def _written(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Clock = Annotated[time, BeforeValidator(_clock), PlainSerializer(lambda at: f"{at:%H:%M}"), _written(CLOCK, "08:00")]
Day = Annotated[
    date, BeforeValidator(_date), PlainSerializer(lambda day: day.isoformat()), _written(DATE, "2026-12-24")
]
Zone = Annotated[
    ZoneInfo, BeforeValidator(_zone), PlainSerializer(lambda zone: zone.key), _written(ZONE, "Europe/Vienna")
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Window:
    """From `opens` to `closes` on `days`; one that closes before it opens goes on into the next day."""

    zone: Zone
    opens: Clock = time()
    closes: Clock = time()
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)] | None = None
    since: Day | None = None
    until: Day | None = None
    """The first and the last day on which it opens."""
    never: list[Day] | None = None
    """Days on which it does not open: holidays."""

    def open_at(self, now: datetime) -> bool:
        """Say whether it is open."""
        local = now.astimezone(self.zone)
        today, wall = local.date(), local.time()
        if self.opens < self.closes:
            return self._opens_on(today) and self.opens <= wall < self.closes
        if wall >= self.opens and self._opens_on(today):
            return True
        return wall < self.closes and self._opens_on(today - timedelta(days=1))

    def next_edge(self, now: datetime) -> datetime:
        """Give the next instant at which it opens or closes, or the end of the week when that comes sooner."""
        state, last = self.open_at(now), BEGINNING + ((now - BEGINNING) // WEEK + 1) * WEEK
        day = now.astimezone(self.zone).date()
        while datetime.combine(day, time(), UTC) <= last + timedelta(days=1):
            for edge in sorted(self._edges(day)):
                if now < edge < last and self.open_at(edge) != state:
                    return edge
            day += timedelta(days=1)
        return last

    def _opens_on(self, day: date) -> bool:
        if (self.since and day < self.since) or (self.until and day > self.until) or day in (self.never or ()):
            return False
        return self.days is None or DAYS[day.weekday()] in self.days

    def _edges(self, day: date) -> Iterator[datetime]:
        """List when the wall may show an edge on this day, both times where it shows it twice, and where it jumps."""
        for wall in {time(), self.opens, self.closes}:
            for fold in (0, 1):
                yield datetime.combine(day, wall.replace(fold=fold), self.zone).astimezone(UTC)
        jump = self._jump(day)
        if jump is not None:
            yield jump

    def _jump(self, day: date) -> datetime | None:
        """Find the minute at which the offset from UTC changes on this day, if it does."""
        low = datetime.combine(day, time(), self.zone).astimezone(UTC)
        minutes = 24 * 60
        before = self._offset(low)
        if before == self._offset(low + timedelta(minutes=minutes)):
            return None
        known, first = 0, minutes
        while first - known > 1:
            middle = (known + first) // 2
            known, first = (
                (middle, first) if self._offset(low + timedelta(minutes=middle)) == before else (known, middle)
            )
        return low + timedelta(minutes=first)

    def _offset(self, at: datetime) -> Any:
        return at.astimezone(self.zone).utcoffset()
