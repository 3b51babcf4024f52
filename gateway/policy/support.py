"""Until when a release gets security updates that ask for no contract: a dated table, and how a machine is found in it.

Debian counts with its LTS, which arrives from the archive that is configured anyway; Ubuntu without Pro, Windows without ESU.
Apple names no dates: macOS is estimated at three years from the release. A release that the table does not have is unknown,
which is no support.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

from agent.wire import Fact

ENDS: Final = "os.support_ends_at"
NEEDS: Final = ("os.family", "os.distribution", "os.version", "os.edition")
"""Facts that say which release it is; the edition matters for Windows alone."""


@dataclass(frozen=True, slots=True)
class Support:
    """`ends` is the first instant without support; None: a rolling release, supported for as long as it is updated."""

    ends: datetime | None
    estimated: bool = False


@functools.cache
def table() -> Mapping[str, Any]:
    """The table: `dated`, `rolling`, `estimated` and, by distribution, its `releases`."""
    text = resources.files("gateway.policy").joinpath("end_of_support.json").read_text()
    found: Mapping[str, Any] = json.loads(text)
    return found


def support(distribution: str, version: str, edition: str | None = None) -> Support | None:
    """Find a release; None when the table does not have it. The row with most of the version's numbers counts."""
    known = table()
    if distribution in known["rolling"]:
        return Support(None)
    rows = [row for row in known["releases"].get(distribution, ()) if _is_of(version, row["version"])]
    own = [row for row in rows if edition in row.get("editions", ())]
    fitting = own or [row for row in rows if "editions" not in row]
    if not fitting:
        return None
    row = max(fitting, key=lambda row: row["version"].count("."))
    last = datetime.strptime(row["ends"], "%Y-%m-%d").replace(tzinfo=UTC)
    return Support(last + timedelta(days=1), distribution in known["estimated"])


def support_fact(facts: Mapping[str, Fact]) -> Fact:
    """State `os.support_ends_at` from what a device says about its release."""
    said = {name: fact.value for name in NEEDS if (fact := facts.get(name)) and isinstance(fact.value, str)}
    at = max((facts[name].observed_at for name in said), default=0.0)
    source = f"the table of releases of {table()['dated']}"
    distribution, version = said.get("os.distribution"), said.get("os.version", "")
    if distribution is None:
        return Fact(None, source, at, "os.distribution was not reported")
    found = support(distribution, version, said.get("os.edition"))
    if found is None:
        return Fact(None, source, at, f"the table has no {distribution} {version}"[:200])
    if found.ends is None:
        return Fact(None, source, at, f"{distribution} is a rolling release and has no end")
    return Fact(found.ends.timestamp(), f"{source}{' (estimated)' if found.estimated else ''}", at)


def _is_of(version: str, release: str) -> bool:
    """Whether `12.11` is a version of the release `12`."""
    wanted = release.split(".")
    return version.split(".")[: len(wanted)] == wanted
