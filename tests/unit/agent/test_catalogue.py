"""The catalogue of facts is one list: in code, in docs/facts.md, and in what the collectors state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.catalogue import CATALOGUE, CUSTOM
from agent.collect import Collection

ROOT = Path(__file__).parents[3]
LETTERS = {"L": "linux", "M": "darwin", "W": "windows"}
ROW = re.compile(
    r"^\| `(?P<name>[a-z]+\.[a-z0-9_]+)` \| (?P<kind>\w+) \| (?P<on>[LMWG ]+) \| (?P<source>[^|]+) \|", re.M
)


def rows() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The tables of docs/facts.md: kind and platforms by name."""
    found = ROW.finditer((ROOT / "docs" / "facts.md").read_text())
    return {row["name"]: (row["kind"], tuple(LETTERS[on] for on in row["on"].split() if on != "G")) for row in found}


def test_the_document_names_every_fact_with_its_type_and_its_platforms() -> None:
    assert rows() == {name: (each.kind.value, each.platforms) for name, each in CATALOGUE.items()}


def test_what_this_agent_states_is_in_the_catalogue() -> None:
    linux = {name for name, each in CATALOGUE.items() if "linux" in each.platforms}
    assert Collection().facts <= linux


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("custom.vpn-profile", True),
        ("custom.", False),
        ("custom.A", False),
        ("custom.a.b", False),
        ("custom.a\n", False),
    ],
)
def test_names_of_custom_facts_are_short_and_plain(name: str, sound: bool) -> None:
    assert (CUSTOM.fullmatch(name) is not None) is sound
