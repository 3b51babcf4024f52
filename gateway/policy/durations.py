"""Durations as policies write them: a whole number and one unit, `90s`, `30m`, `12h`, `3d`."""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=3650)
"""Far beyond any sensible grace, and small enough that adding it to a date never overflows."""

PATTERN = r"^[0-9]{1,9}[smhd]$"
ALLOWED = "a whole number with s, m, h or d, for example 60s, 30m, 12h or 3d"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: object) -> timedelta:
    """Read `3d`; a duration is taken as it is. Raises ValueError that says what is allowed."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
        raise ValueError(f"is not a duration; allowed is {ALLOWED}")
    seconds = int(text[:-1]) * _UNITS[text[-1]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"is too long; the longest duration is {show(LONGEST)}")
    return timedelta(seconds=seconds)


def show(duration: timedelta) -> str:
    """Write it with the largest unit that keeps it whole, as `parse` reads it."""
    seconds = int(duration.total_seconds())
    unit = next(u for u in "dhms" if seconds % _UNITS[u] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
