"""What the parts of a policy say about each other: every name that is used exists, and everything is said once.

Looks at the files as they are written, so that a wrong name is reported together with a wrong value elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.errors import Problem
from gateway.policy.model import REPORT
from gateway.policy.source import Path, Source

_ONCE = ("policy", "tiers", "session")


def problems(sources: list[Source]) -> Iterator[Problem]:
    """Find everything that is missing, repeated or unknown across the files of one policy."""
    yield from _repeated(sources)
    yield from _missing(sources)
    for source in sources:
        if REPORT in _mapping(source.data, "checks"):
            text = f"checks.{REPORT}: is the name of the finding about missing reports; allowed is any other"
            yield source.problem(("checks", REPORT), text, at_key=True)
    tiers = _tiers(sources)
    resources = {name for source in sources for name in _mapping(source.data, "resources")}
    for source in sources:
        yield from _unknown_tiers(source, tiers)
        for index, grant in enumerate(_list(source.data, "access")):
            for place, name in enumerate(_list(grant, "resources")):
                yield from _unknown(source, ("access", index, "resources", place), name, "resource", sorted(resources))


def _repeated(sources: list[Source]) -> Iterator[Problem]:
    """The order of files means nothing, so nothing may be said in two of them."""
    said: dict[Path, Source] = {}
    for source in sources:
        single = [(section,) for section in _ONCE if section in _mapping(source.data)]
        named = [(s, name) for s in ("resources", "checks") for name in _mapping(source.data, s)]
        for path in [*single, *named]:
            first = said.setdefault(path, source)
            if first is not source:
                where = f"{first.name}:{first.keys[path][0]}"
                yield source.problem(path, f"{'.'.join(path)}: is also in {where}; allowed is once", at_key=True)
    for source in sources:
        tiers = _list(source.data, "tiers")
        for index, tier in enumerate(tiers):
            if tier in tiers[:index]:
                yield source.problem(("tiers", index), f"tiers: {tier!r} is repeated; allowed is once")


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
    for index, grant in enumerate(_list(source.data, "access")):
        yield from _unknown(
            source, ("access", index, "tier"), _mapping(grant).get("tier"), "tier for a grant", tiers[:-1]
        )
    for name, check in _mapping(source.data, "checks").items():
        tier = _mapping(check).get("otherwise")
        yield from _unknown(source, ("checks", name, "otherwise"), tier, "tier to fall to", tiers[1:])
    tier = _mapping(source.data, "session").get("without_report")
    yield from _unknown(source, ("session", "without_report"), tier, "tier to fall to", tiers[1:])


def _unknown(source: Source, path: Path, name: object, kind: str, allowed: Iterable[str]) -> Iterator[Problem]:
    if isinstance(name, str) and name not in allowed:
        names = list(allowed)
        shown = (
            ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            or "none: there are none"
        )
        yield source.problem(path, f"{'.'.join(map(str, path))}: {name!r} is no {kind}; allowed are {shown}")


def _mapping(data: Any, section: str | None = None) -> dict[str, Any]:
    part = data.get(section) if section is not None and isinstance(data, dict) else data
    return part if isinstance(part, dict) and (section is None or isinstance(data, dict)) else {}


def _list(data: Any, section: str) -> list[Any]:
    part = data.get(section) if isinstance(data, dict) else None
    return part if isinstance(part, list) else []
