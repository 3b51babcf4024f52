"""What waits to be installed, by package manager: each has a module of the same form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable

SLOW: Final = 120.0
"""Seconds that a package manager may take; it runs at the lowest priority."""
NICE: Final = ("nice", "-n", "19")
LONGEST_LINE: Final = 1000


@dataclass(frozen=True, slots=True)
class Waiting:
    """Updates that wait. `security` None: this manager does not tell them apart."""

    pending: int
    security: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Manager:
    """A package manager: how to ask it, which files change with its answer, and where it leaves its marks.

    `lists`: touched when its knowledge is renewed. `installed`: touched when a package is installed, upgraded or removed.
    `automatic`: whether updates are installed without a person. Each function raises Unreadable.
    """

    program: str
    waiting: Callable[[], Waiting]
    automatic: Callable[[], bool]
    lists: Sequence[str]
    installed: Sequence[str]
    settings: Sequence[str] = ()


def newest(patterns: Sequence[str], root: Path = Path("/")) -> float | None:
    """The latest time of change of the files that the patterns match, in Unix seconds."""
    return max((nanoseconds / 1e9 for _, nanoseconds in marks(patterns, root)), default=None)


def marks(patterns: Sequence[str], root: Path = Path("/")) -> list[tuple[str, int]]:
    """Each file with its time of change in nanoseconds: equal marks, equal answers."""
    found = []
    for pattern in patterns:
        for path in sorted(root.glob(pattern.lstrip("/"))):
            try:
                found.append((str(path), path.stat().st_mtime_ns))
            except OSError:
                continue
    return found


def lines(said: str, program: str) -> list[str]:
    """The lines that say something. Raises Unreadable for one without an end."""
    found = [line for line in said.split("\n") if line.strip()]
    if any(len(line) > LONGEST_LINE for line in found):
        raise Unreadable(f"{program} gave a line without an end")
    return found
