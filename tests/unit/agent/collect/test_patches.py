"""Updates that wait, counted; a text that is not understood is never "nothing waits"."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.collect.linux.packages import newest
from agent.collect.linux.packages.apt import parse_apt
from agent.collect.linux.packages.dnf import parse_dnf_check_update, parse_dnf_updateinfo
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import names, recorded

APT = {
    "apt-debian-12.txt": (124, 81),
    "apt-ubuntu-22.04.txt": (4, 3),
    "apt-ubuntu-esm.txt": (1, 1),
    "apt-nothing.txt": (0, 0),
}
CHECK_UPDATE = {"dnf4-check-update.txt": 4, "dnf5-check-update.txt": 4}
ADVISORIES = {"dnf4-updateinfo-security.txt": 2, "dnf4-updateinfo-all.txt": 2, "dnf5-advisory-list-security.txt": 2}
HOSTILE = [
    "\0",
    "Fehler: Keine Berechtigung\n",
    "0 aktualisiert, 0 neu installiert\n",
    "Error: cache-only enabled but no cache for 'baseos'\n",
    "{}",
    "A security " + "-" * (10 << 20),
    "Inst a [" * (1 << 20),
    "x" * (10 << 20),
]


@pytest.mark.parametrize("name", APT)
def test_apt_says_what_it_would_install_and_from_where(name: str) -> None:
    assert parse_apt(recorded(f"patches/{name}")) == APT[name]


@pytest.mark.parametrize("name", CHECK_UPDATE)
def test_dnf_lists_packages_and_the_heirs_of_obsolete_ones(name: str) -> None:
    assert parse_dnf_check_update(recorded(f"patches/{name}")) == CHECK_UPDATE[name]


@pytest.mark.parametrize("name", ADVISORIES)
def test_several_advisories_of_one_package_are_one_update(name: str) -> None:
    assert parse_dnf_updateinfo(recorded(f"patches/{name}")) == ADVISORIES[name]


def test_every_recorded_file_is_judged() -> None:
    known = {*APT, *CHECK_UPDATE, *ADVISORIES, "apt-german.txt"}
    assert {name for name in names("patches") if name.startswith(("apt", "dnf"))} == known


def test_dnf_says_nothing_when_nothing_waits() -> None:
    assert parse_dnf_check_update("\n") == 0
    assert parse_dnf_updateinfo("") == 0


def test_remarks_of_dnf_are_no_packages() -> None:
    text = "Last metadata expiration check: 0:12:01 ago on Tue 24 Nov 2026.\n\nbash.x86_64  5.1.8-9.el9  baseos\n"
    text += "Security: kernel-core-5.14.0-503.el9.x86_64 is an installed security update\n"
    assert parse_dnf_check_update(text) == 1


def test_a_summary_that_counts_more_than_is_listed_was_cut_off() -> None:
    whole = recorded("patches/apt-ubuntu-22.04.txt")
    for end in (whole.index("Inst tzdata"), whole.index("3 upgraded"), whole.index("Inst libc6")):
        with pytest.raises(Unreadable):
            parse_apt(whole[:end])


@pytest.mark.parametrize("text", ["", recorded("patches/apt-german.txt"), *HOSTILE], ids=lambda text: ascii(text[:30]))
def test_apt_in_another_language_or_form_is_not_nothing_to_do(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_apt(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_dnf_in_another_language_or_form_is_not_nothing_to_do(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_dnf_check_update(text)
    with pytest.raises(Unreadable):
        parse_dnf_updateinfo(text)


def test_lists_are_as_fresh_as_the_newest_mark_of_them(tmp_path: Path) -> None:
    old, young = tmp_path / "old", tmp_path / "young"
    for path, at in ((old, 1000), (young, 2000)):
        path.touch()
        os.utime(path, (at, at))
    assert newest(["/old", "/young", "/missing"], tmp_path) == 2000
    assert newest(["/missing"], tmp_path) is None
