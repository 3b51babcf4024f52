"""How a machine is found in the table of releases, and that a machine that is not there has no support."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.wire import Fact
from gateway.policy.support import Support, support, support_fact, table

EDITIONS = {
    None: "2026-10-13",
    "Professional": "2026-10-13",
    "Core": "2026-10-13",
    "Enterprise": "2027-10-12",
    "Education": "2027-10-12",
    "EnterpriseS": "2029-10-09",
}


def last_day(text: str) -> Support:
    return Support(datetime.fromisoformat(text).replace(hour=0, tzinfo=UTC) + (datetime(2, 1, 2) - datetime(2, 1, 1)))


@pytest.mark.parametrize(
    ("distribution", "version", "expected"),
    [
        ("debian", "12.11", "2028-06-30"),
        ("debian", "12", "2028-06-30"),
        ("ubuntu", "24.04", "2029-05-31"),
        ("ubuntu", "22.04", "2027-06-01"),
        ("fedora", "43", "2026-12-09"),
        ("rhel", "9.4", "2032-05-31"),
        ("opensuse-leap", "15.6", "2026-04-30"),
        ("alpine", "3.20.3", "2026-04-01"),
        ("windows-server", "10.0.20348.2762", "2031-10-14"),
    ],
)
def test_a_release_is_found_by_the_beginning_of_its_version(distribution: str, version: str, expected: str) -> None:
    assert support(distribution, version) == last_day(expected)


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_edition_of_windows_counts(edition: str | None) -> None:
    assert support("windows", "10.0.26100.2314", edition) == last_day(EDITIONS[edition])


@pytest.mark.parametrize(
    ("distribution", "version"),
    [("debian", "1"), ("debian", "120"), ("debian", ""), ("debian", "trixie/sid"), ("templeos", "5"), ("ubuntu", "24")],
)
def test_a_release_that_the_table_does_not_have_is_unknown(distribution: str, version: str) -> None:
    assert support(distribution, version) is None


def test_a_rolling_release_has_no_end_and_macos_only_an_estimate() -> None:
    assert support("arch", "") == Support(None)
    found = support("macos", "15.1")
    assert found is not None
    assert found.estimated


def facts(**values: str) -> dict[str, Fact]:
    return {f"os.{name}": Fact(value, "test", 100.0) for name, value in values.items()}


def test_the_fact_names_the_table_or_the_reason() -> None:
    fact = support_fact(facts(family="linux", distribution="debian", version="12.11"))
    assert fact.value == datetime(2028, 7, 1, tzinfo=UTC).timestamp()
    assert table()["dated"] in fact.source
    assert support_fact(facts(distribution="beos", version="5")).absent == "the table has no beos 5"
    assert support_fact({}).absent == "os.distribution was not reported"
    assert "rolling" in str(support_fact(facts(distribution="arch")).absent)


def test_the_table_is_dated_and_every_row_ends() -> None:
    datetime.fromisoformat(table()["dated"])
    for distribution, rows in table()["releases"].items():
        for row in rows:
            assert support(distribution, row["version"], (row.get("editions") or [None])[0]) is not None, row
