"""Versions and what may be asked of them: `12`, `>= 12.5`, `>= 2.4, < 3`.

DOTTED orders systems and programs in general: as Debian does, with one addition, that a trailing `.0` means nothing, because
people write both `12` and `12.0`. DPKG and RPM order packages, to the letter: Debian Policy 5.6.12 (numbers by value, `~`
before the end, so that `2.0~rc1` is older than `2.0`), and rpm's own (epoch, version, release in turn; what is neither letter
nor digit only separates; numbers above letters; `~` below the end, `^` above it). UNAME orders what kernels call themselves:
`6.1.0-28-amd64` has no package's parts, so its numbers and letters count in turn, as rpm takes them.
"""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

VERSION = r"(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~^_-]{0,63}"
REQUIREMENT = rf"^\s*(?:>=|<=|==|!=|>|<)?\s*{VERSION}(?:\s*,\s*(?:>=|<=|==|!=|>|<)\s*{VERSION})*\s*$"
"""Versions begin with a digit: a code name such as `sid` says nothing about age."""

ALLOWED = 'a version in quotes such as "12" (meaning >= 12), ">= 12.5" or ">= 2.4, < 3"'

Key = tuple[Any, ...]


class Scheme(enum.Enum):
    """By whose rules versions are ordered."""

    DOTTED = "dotted"
    DPKG = "dpkg"
    RPM = "rpm"
    UNAME = "uname"


DOTTED = Scheme.DOTTED

_PACKAGED = dict.fromkeys(
    ("debian", "ubuntu", "linuxmint", "pop", "raspbian", "devuan", "kali", "elementary", "zorin", "neon"), Scheme.DPKG
) | dict.fromkeys(
    (
        "fedora", "rhel", "centos", "rocky", "almalinux", "ol", "amzn", "opensuse-leap", "opensuse-tumbleweed", "sles",
        "sled", "mageia", "azurelinux", "scientific",
    ),
    Scheme.RPM,
)  # fmt: skip

_OPERATORS: dict[str, Callable[[Key, Key], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def scheme_of(distribution: str | None) -> Scheme:
    """Name the rules by which a distribution orders its packages; those of no distribution are dotted."""
    return _PACKAGED.get(distribution or "", Scheme.DOTTED)


def scheme_of_kernel(distribution: str | None) -> Scheme:
    """Name the rules for what `uname -r` says: on rpm's systems it is the package's version and release."""
    return Scheme.RPM if scheme_of(distribution) is Scheme.RPM else Scheme.UNAME


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a version must satisfy: every one of `bounds`, which are operators and versions."""

    text: str
    bounds: tuple[tuple[str, str], ...] = field(compare=False, repr=False)

    def met_by(self, version: str, scheme: Scheme = DOTTED) -> bool:
        """Say whether it holds. Raises ValueError when `version` is not a version."""
        return all(
            _OPERATORS[name](key(_beside(bound, version, scheme), scheme), key(bound, scheme))
            for name, bound in self.bounds
        )

    def surely_met_by(self, version: str, scheme: Scheme = DOTTED) -> bool:
        """Say whether it holds; what is not a version does not meet it."""
        try:
            return self.met_by(version, scheme)
        except ValueError:
            return False


def requirement(text: object) -> Requirement:
    """Read `>= 12.5`; a version alone means `>=`. Raises ValueError that says what is allowed."""
    if isinstance(text, Requirement):
        return text
    if not isinstance(text, str) or len(text) > 256 or not re.fullmatch(REQUIREMENT, text):
        raise ValueError(f"is not a version requirement; allowed is {ALLOWED}")
    parts = [re.fullmatch(r"\s*([<>=!]*)\s*(\S+)\s*", part) for part in text.split(",")]
    bounds = tuple((part[1] or ">=", part[2]) for part in parts if part)
    return Requirement(", ".join(f"{name} {version}" for name, version in bounds), bounds)


def _beside(bound: str, version: str, scheme: Scheme) -> str:
    """As in rpm's dependencies, a bound that names no release is about the version alone."""
    return version.rpartition("-")[0] if scheme is Scheme.RPM and "-" in version and "-" not in bound else version


@lru_cache(maxsize=4096)  # a fleet has few versions, and the same ones are asked for again and again
def key(version: str, scheme: Scheme = DOTTED) -> Key:
    """Make the sort key of a version. Raises ValueError when it is none."""
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"{version[:64]!r} is not a version; a version begins with a digit")
    return _KEYS[scheme](version)


def _dotted(version: str) -> Key:
    epoch, upstream, revision = _parts(version)
    return epoch, _order(re.sub(r"(?:\.0+)+(?=~|$)", "", upstream)), _order(revision or "0")


def _dpkg(version: str) -> Key:
    epoch, upstream, revision = _parts(version)
    return epoch, _order(upstream), _order(revision or "0")


def _rpm(version: str) -> Key:
    epoch, upstream, release = _parts(version)
    return epoch, _segments(upstream), _segments(release)


def _uname(version: str) -> Key:
    return _segments(version)


_KEYS: dict[Scheme, Callable[[str], Key]] = {
    Scheme.DOTTED: _dotted,
    Scheme.DPKG: _dpkg,
    Scheme.RPM: _rpm,
    Scheme.UNAME: _uname,
}


def _parts(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch) if colon else 0, upstream if dash else rest, revision if dash else ""


def _order(text: str) -> tuple[int, ...]:
    """Flatten alternating words and numbers into integers: each word closed by 0, `~` below 0, letters below the rest."""
    flat: list[int] = []
    for word, number in re.findall(r"([^0-9]*)([0-9]*)", text)[:-1]:
        flat += [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word]
        flat += [0, int(number or 0)]
    return (*flat, 0)


def _segments(text: str) -> tuple[tuple[int, int, str], ...]:
    """Rank each segment: `~` below the end, the end below `^`, then letters, then numbers."""
    ranked: list[tuple[int, int, str]] = []
    for segment in re.findall(r"[0-9]+|[A-Za-z]+|~|\^", text):
        if segment in "~^":
            ranked.append((0 if segment == "~" else 2, 0, ""))
        elif segment.isdigit():
            ranked.append((4, int(segment), ""))
        else:
            ranked.append((3, 0, segment))
    return (*ranked, (1, 0, ""))
