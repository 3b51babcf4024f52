"""What several mouths say about one device: nobody speaks for another, and a difference is a contradiction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.catalogue import CATALOGUE
from agent.wire import Fact
from gateway.policy.evidence import OTHERS, assembled, contradictions, grades, is_others
from gateway.policy.model import EvidenceGrade

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def facts(**values: Any) -> dict[str, Fact]:
    return {name.replace("__", "."): Fact(value, "test", NOW.timestamp()) for name, value in values.items()}


def both(said: dict[str, Fact], told: dict[str, Fact], behind: float = 0.0) -> dict[str, Fact]:
    return assembled(said, told, issued_at=NOW - timedelta(seconds=behind), received_at=NOW)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_device_cannot_state_what_only_others_can(name: str) -> None:
    found = both({name: Fact("forged", "device", 1.0)}, {}).get(name)
    assert found is None or found.value != "forged"


def test_a_name_that_is_not_even_known_is_no_way_around() -> None:
    assert "mdm.anything" not in both({"mdm.anything": Fact(True, "device", 1.0)}, {})
    assert is_others("seen.new")
    assert not is_others("os.version")


def test_a_witness_cannot_state_what_only_the_device_can() -> None:
    found = both(facts(firewall__enabled=False), facts(firewall__enabled=True, mdm__enrolled=True))
    assert found["firewall.enabled"].value is False
    assert found["mdm.enrolled"].value is True


def test_the_gateway_adds_clock_skew_and_the_end_of_support() -> None:
    found = both(facts(os__family="linux", os__distribution="debian", os__version="12.11"), {}, behind=12.5)
    assert found["seen.clock_skew"].value == -12.5
    assert datetime.fromtimestamp(found["os.support_ends_at"].value, UTC) == datetime(2028, 7, 1, tzinfo=UTC)
    assert found["seen.contradictions"].value == []
    assert set(found) - {"os.family", "os.distribution", "os.version"} <= set(CATALOGUE)


@pytest.mark.parametrize(
    ("said", "told", "word"),
    [
        ({"os__family": "windows"}, {"seen__os_family": "linux"}, "packets look like linux"),
        ({"disk__root_encrypted": True}, {"mdm__disk_encrypted": False}, "the MDM that it is not encrypted"),
        ({"disk__root_encrypted": False}, {"mdm__disk_encrypted": True}, "its disk is not encrypted"),
        ({"os__version": "15.1"}, {"mdm__os_version": "13.6.1"}, "the MDM that it is 13.6.1"),
        ({"os__family": "linux"}, {"seen__os_family": "linux"}, None),
        ({"os__version": "12.11"}, {"mdm__os_version": "12"}, None),
        ({"os__version": "12.11"}, {"mdm__os_version": "12.9"}, None),
        ({"os__family": "linux"}, {}, None),
        ({}, {"seen__os_family": "linux"}, None),
        ({"os__family": "lin\x1b[2Jux" * 100}, {"seen__os_family": "linux"}, "lin [2Jux"),
        ({"disk__root_encrypted": ["x"]}, {"mdm__disk_encrypted": True}, "not encrypted"),
    ],
)
def test_where_two_differ_a_sentence_says_so(said: dict[str, Any], told: dict[str, Any], word: str | None) -> None:
    found = both(facts(**said), facts(**told))["seen.contradictions"].value
    assert (word is None and found == []) or (word is not None and len(found) == 1 and word in found[0])
    assert all(sentence.isprintable() and len(sentence) < 200 for sentence in found)


def test_a_missing_fact_contradicts_nothing() -> None:
    said = {"os.family": Fact(None, "x", 1.0, "unknown"), "seen.os_family": Fact("linux", "x", 1.0)}
    assert contradictions(said) == []


def test_grades_say_who_stands_behind_a_fact() -> None:
    custom = {"custom.zone": Fact({"value": 1, "sha256": "x"}, "x", 1.0)}
    told = facts(mdm__enrolled=True, mdm__disk_encrypted=True, mdm__os_version="12")
    said = facts(disk__root_encrypted=True, os__version="12.11", device__serial="PF3", firewall__enabled=True)
    found = grades(both({**said, **custom}, told))
    confirmed = {name for name, grade in found.items() if grade is EvidenceGrade.VENDOR_CONFIRMED}
    assert found["custom.zone"] is EvidenceGrade.CLAIMED
    assert {"mdm.enrolled", "seen.clock_skew", "disk.root_encrypted", "os.version", "device.serial"} <= confirmed
    assert "firewall.enabled" not in found
    assert "disk.root_encrypted" not in grades(both(said, facts(mdm__disk_encrypted=False)))
    assert "os.version" not in grades(both(said, facts(mdm__os_version="12.1")))
    assert "device.serial" not in grades(both(said, facts(mdm__enrolled=False)))
