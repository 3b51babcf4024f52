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


@pytest.mark.parametrize("platform", ["linux", "darwin", "windows"])
def test_what_the_agent_of_a_platform_states_is_exactly_what_the_catalogue_says(platform: str) -> None:
    known = {name for name, each in CATALOGUE.items() if platform in each.platforms}
    assert Collection(platform=platform).facts == known


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_every_fact_is_stated_with_a_reason_when_its_program_is_missing(platform: str) -> None:
    """These programs are not on this machine: a collector that could not read fails no other and states its facts."""
    made = Collection(platform=platform)
    facts = made.everything(now=1.0)
    assert set(facts) == made.facts
    assert facts["disk.root_encrypted"].absent
    assert "failed" not in str(facts["disk.root_encrypted"].absent)


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
