"""Versions and what may be asked of them: `12`, `>= 12.5`, `>= 2.4, < 3`.

Versions are ordered as Debian orders them (Debian Policy 5.6.12: numbers by value, `~` before the end, so that
`2.0~rc1` is older than `2.0`), with one addition: a trailing `.0` means nothing, because distributions write both
`12` and `12.0`. Plain numeric versions of any system are ordered as everybody expects.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

VERSION = r"(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]{0,63}"
REQUIREMENT = rf"^\s*(?:>=|<=|==|!=|>|<)?\s*{VERSION}(?:\s*,\s*(?:>=|<=|==|!=|>|<)\s*{VERSION})*\s*$"
"""Versions begin with a digit: a code name such as `sid` says nothing about age."""

ALLOWED = 'a version in quotes such as "12" (meaning >= 12), ">= 12.5" or ">= 2.4, < 3"'

Key = tuple[int, tuple[int, ...], tuple[int, ...]]

_OPERATORS: dict[str, Callable[[Key, Key], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a version must satisfy: every one of `bounds`."""

    text: str
    bounds: tuple[tuple[str, Key], ...]

    def met_by(self, version: str) -> bool:
        """Say whether it holds. Raises ValueError when `version` is not a version."""
        found = key(version)
        return all(_OPERATORS[name](found, bound) for name, bound in self.bounds)


def requirement(text: object) -> Requirement:
    """Read `>= 12.5`; a version alone means `>=`. Raises ValueError that says what is allowed."""
    if isinstance(text, Requirement):
        return text
    if not isinstance(text, str) or len(text) > 256 or not re.fullmatch(REQUIREMENT, text):
        raise ValueError(f"is not a version requirement; allowed is {ALLOWED}")
    parts = [re.fullmatch(r"\s*([<>=!]*)\s*(\S+)\s*", part) for part in text.split(",")]
    bounds = tuple((part[1] or ">=", key(part[2])) for part in parts if part)
    return Requirement(", ".join(f"{part[1] or '>='} {part[2]}" for part in parts if part), bounds)


def key(version: str) -> Key:
    """Make the sort key of a version. Raises ValueError when it is none."""
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"{version[:64]!r} is not a version; a version begins with a digit")
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    return int(epoch) if colon else 0, _order(re.sub(r"(?:\.0+)+(?=~|$)", "", upstream)), _order(revision)


def _order(text: str) -> tuple[int, ...]:
    """Flatten alternating words and numbers into integers: each word closed by 0, `~` below 0, letters below the rest."""
    flat: list[int] = []
    for word, number in re.findall(r"([^0-9]*)([0-9]*)", text)[:-1]:
        flat += [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word]
        flat += [0, int(number or 0)]
    return (*flat, 0)
