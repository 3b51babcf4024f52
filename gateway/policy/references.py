"""What the parts of a policy say about each other: every name that is used exists, and everything is said once.

Looks at the files as they are written, so that a wrong name is reported together with a wrong value elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from gateway.errors import Problem
from gateway.policy.model import LOGIN, REPORT, Signal
from gateway.policy.source import Path, Source

_DEFINED = {
    "resources": ("resources", "resource"),
    "when": ("windows", "window"),
    "networks": ("networks", "network"),
    "tags": ("tags", "tag"),
}
"""By the key of an access rule: the section that holds what the key names, and what one of them is called."""
_NAMED = ("resources", "checks", "windows", "networks", "tags")
_ONCE = ("policy", "tiers", "session", "signals")

_TAKEN = {REPORT: "missing reports", LOGIN: "the login", **dict.fromkeys(map(str, Signal), "what the provider signals")}
"""Findings that need no check."""

MOST_SHOWN = 20
"""Of the names that are allowed: what still is read."""


def problems(sources: list[Source]) -> Iterator[Problem]:
    """Find everything that is missing, repeated or unknown across the files of one policy."""
    yield from _repeated(sources)
    yield from _missing(sources)
    for source in sources:
        for name in sorted(_TAKEN.keys() & _mapping(source.data, "checks").keys()):
            text = f"checks.{name}: is the name of the finding about {_TAKEN[name]}; allowed is any other"
            yield source.problem(("checks", name), text, at_key=True)
    tiers = _tiers(sources)
    defined = {
        key: _Names(kind, {name for source in sources for name in _mapping(source.data, section)})
        for key, (section, kind) in _DEFINED.items()
    }
    for source in sources:
        yield from _unknown_tiers(source, tiers)
        for section, index, rule in _rules(source):
            for key, names in defined.items():
                for place, name in enumerate(_list(rule, key)):
                    yield from names.unknown(source, (section, index, key, place), name)
        for name, check in _mapping(source.data, "checks").items():
            for place, tag in enumerate(_list(check, "tags")):
                yield from defined["tags"].unknown(source, ("checks", name, "tags", place), tag)
    yield from _denied_names(sources)


def _rules(source: Source) -> Iterator[tuple[str, int, Any]]:
    for section in ("access", "deny"):
        for index, rule in enumerate(_list(source.data, section)):
            yield section, index, rule


def _denied_names(sources: list[Source]) -> Iterator[Problem]:
    """What a DNS name means can go missing, and with it the hole that a deny is."""
    named = {
        name
        for source in sources
        for name, resource in _mapping(source.data, "resources").items()
        if _list(resource, "names")
    }
    for source in sources:
        for index, deny in enumerate(_list(source.data, "deny")):
            for place, name in enumerate(_list(deny, "resources")):
                if name in named:
                    text = f"deny.{index}.resources.{place}: {name!r} is known by DNS names; a deny needs resources with destinations alone"
                    yield source.problem(("deny", index, "resources", place), text)


def _repeated(sources: list[Source]) -> Iterator[Problem]:
    """The order of files means nothing, so nothing may be said in two of them."""
    said: dict[Path, Source] = {}
    for source in sources:
        single = [(section,) for section in _ONCE if section in _mapping(source.data)]
        named = [(s, name) for s in _NAMED for name in _mapping(source.data, s)]
        for path in [*single, *named]:
            first = said.setdefault(path, source)
            if first is not source:
                where = f"{first.name}:{first.keys[path][0]}"
                yield source.problem(path, f"{'.'.join(path)}: is also in {where}; allowed is once", at_key=True)
    for source in sources:
        tiers: set[str] = set()
        for index, tier in enumerate(_list(source.data, "tiers")):
            if not isinstance(tier, str):
                continue
            if tier in tiers:
                yield source.problem(("tiers", index), f"tiers: {tier!r} is repeated; allowed is once")
            tiers.add(tier)


def _missing(sources: list[Source]) -> Iterator[Problem]:
    needed = {
        "policy": "gives the policy its name",
        "tiers": "lists the tiers, best first",
        "checks": "says what a healthy device is; without one, everybody would have the best tier",
    }
    for section, purpose in needed.items():
        if not any(_mapping(source.data).get(section) for source in sources):
            yield sources[0].problem(
                (), f"needs the key {section}, here or in another file of the folder: it {purpose}"
            )


def _tiers(sources: list[Source]) -> list[str]:
    return next(
        ([t for t in _list(s.data, "tiers") if isinstance(t, str)] for s in sources if _list(s.data, "tiers")), []
    )


def _unknown_tiers(source: Source, tiers: list[str]) -> Iterator[Problem]:
    if len(tiers) < 2:
        return
    granting, falling = _Names("tier for a grant", tiers[:-1]), _Names("tier to fall to", tiers[1:])
    for index, grant in enumerate(_list(source.data, "access")):
        yield from granting.unknown(source, ("access", index, "tier"), _mapping(grant).get("tier"))
    for name, check in _mapping(source.data, "checks").items():
        yield from falling.unknown(source, ("checks", name, "otherwise"), _mapping(check).get("otherwise"))
    for section, names in (("session", ("without_report", "without_login")), ("signals", _SIGNALS)):
        for name in names:
            yield from falling.unknown(source, (section, name), _mapping(source.data, section).get(name))


_SIGNALS = tuple(signal.name.lower() for signal in Signal)


class _Names:
    """The names that something may have; a policy can hold thousands, so they are looked up and shown in part."""

    def __init__(self, kind: str, allowed: Collection[str]) -> None:
        self._kind = kind
        self._allowed = frozenset(allowed)
        names = sorted(allowed) if isinstance(allowed, set) else list(allowed)
        more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        self._shown = f"{', '.join(names[:MOST_SHOWN])}{more}" if names else "none: there are none"

    def unknown(self, source: Source, path: Path, name: object) -> Iterator[Problem]:
        if isinstance(name, str) and name not in self._allowed:
            text = f"{'.'.join(map(str, path))}: {name!r} is no {self._kind}; allowed are {self._shown}"
            yield source.problem(path, text)


def _mapping(data: Any, section: str | None = None) -> dict[str, Any]:
    part = data.get(section) if section is not None and isinstance(data, dict) else data
    return part if isinstance(part, dict) and (section is None or isinstance(data, dict)) else {}


def _list(data: Any, section: str) -> list[Any]:
    part = data.get(section) if isinstance(data, dict) else None
    return part if isinstance(part, list) else []
