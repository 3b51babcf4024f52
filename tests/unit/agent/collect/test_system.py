"""Which distribution and version this is, from os-release(5)."""

from __future__ import annotations

import pytest

from agent.collect.linux.system import parse_os_release, version
from tests.unit.agent.recordings import names, recorded

RELEASES = {
    "debian-12": ("debian", "12"),
    "debian-13": ("debian", "13"),
    "debian-testing": ("debian", None),
    "ubuntu-22.04": ("ubuntu", "22.04"),
    "ubuntu-24.04": ("ubuntu", "24.04"),
    "fedora-43": ("fedora", "43"),
    "rhel-9": ("rhel", "9.4"),
    "arch": ("arch", None),
    "alpine-3.20": ("alpine", "3.20.3"),
    "opensuse-leap": ("opensuse-leap", "15.6"),
    "opensuse-tumbleweed": ("opensuse-tumbleweed", "20260101"),
}


@pytest.mark.parametrize("name", RELEASES)
def test_every_distribution_says_its_name_and_version(name: str) -> None:
    release = parse_os_release(recorded(f"os-release/{name}"))
    assert (release.get("ID"), version(release, None)) == RELEASES[name]


def test_every_recorded_file_is_judged() -> None:
    assert names("os-release") == set(RELEASES)


@pytest.mark.parametrize(
    ("named", "debian", "expected"),
    [
        ("12", "12.11", "12.11"),
        ("12", "12.11\n", "12.11\n"),
        ("12", "trixie/sid", "12"),
        ("12", "13.1", "12"),
        ("12", None, "12"),
        (None, "trixie/sid", None),
        ("", None, None),
    ],
)
def test_the_point_release_of_debian_counts_when_it_is_one_of_this_version(
    named: str | None, debian: str | None, expected: str | None
) -> None:
    assert version({"VERSION_ID": named} if named is not None else {}, debian) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ID=debian", "debian"),
        ('ID="rhel"', "rhel"),
        ("ID='single quoted'", "single quoted"),
        (r'ID="with \"quotes\""', 'with "quotes"'),
        ("  ID=spaces  ", "spaces"),
        ("ID=", ""),
        ("ID=first\nID=second", "second"),
        ("# ID=comment", None),
        ("ID", None),
        ('ID="no end', None),
        ("I D=two", None),
        ("$(touch /tmp/x)=y", None),
        ("ID=" + "x" * 5000, None),
    ],
)
def test_a_line_is_read_in_shell_quoting_and_one_that_is_none_is_passed_over(line: str, expected: str | None) -> None:
    assert parse_os_release(line).get("ID") == expected


@pytest.mark.parametrize("text", ["", "\0", "{}", "\0" * 1000, "=" * 1000, "x" * (10 << 20), "ID='" * (1 << 20)])
def test_garbage_names_no_version(text: str) -> None:
    assert version(parse_os_release(text), None) is None
