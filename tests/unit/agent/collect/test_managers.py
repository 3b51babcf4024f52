"""zypper, pacman and apk, and whether updates install themselves: what is not understood is never "nothing waits"."""

from __future__ import annotations

import pytest

from agent.collect.linux.packages.apk import parse_apk
from agent.collect.linux.packages.apt import parse_apt_config
from agent.collect.linux.packages.dnf import parse_automatic
from agent.collect.linux.packages.pacman import parse_pacman
from agent.collect.linux.packages.zypper import parse_table, security_patches
from agent.collect.linux.patches import Remembered
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import recorded

HOSTILE = ["\0", "{}", "Fehler: Keine Berechtigung", "Erreur\n", "x" * (10 << 20), "a | b\n", "é" * 2000]


def test_zypper_lists_updates_and_the_security_patches_among_them() -> None:
    assert len(parse_table(recorded("patches/zypper-list-updates.txt"), "Name")) == 2
    assert security_patches(recorded("patches/zypper-list-patches-security.txt")) == 1
    assert security_patches(recorded("patches/zypper-list-patches.txt")) == 1


def test_zypper_says_that_nothing_waits() -> None:
    assert parse_table(recorded("patches/zypper-nothing.txt"), "Name") == []
    assert security_patches(recorded("patches/zypper-patches-nothing.txt")) == 0


def test_a_list_of_patches_that_was_cut_off_counts_another_number_than_it_says() -> None:
    whole = recorded("patches/zypper-list-patches-security.txt")
    line = next(line for line in whole.splitlines() if "demo-2026-1" in line)
    for cut in (whole.replace(line, ""), whole[: whole.index("\n1 patch needed")]):
        with pytest.raises(Unreadable):
            security_patches(cut)


def test_a_summary_may_have_a_bar() -> None:
    text = recorded("patches/zypper-list-patches-security.txt").replace("update for alpha", "update | for | alpha")
    assert security_patches(text) == 1


@pytest.mark.parametrize("text", ["", *HOSTILE], ids=lambda text: ascii(text[:20]))
def test_zypper_in_another_language_or_form_is_not_nothing_to_do(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_table(text, "Name")
    with pytest.raises(Unreadable):
        security_patches(text)


@pytest.mark.parametrize(
    ("name", "count"), [("pacman-qu.txt", 1), ("pacman-qu-ignored.txt", 1), ("pacman-nothing.txt", 0)]
)
def test_pacman_lists_updates_and_those_that_somebody_chose_to_ignore(name: str, count: int) -> None:
    assert parse_pacman(recorded(f"patches/{name}") if count else "") == count


def test_pacman_of_a_whole_system() -> None:
    assert parse_pacman("linux 6.11.5.arch1-1 -> 6.11.9.arch1-1\nlib32-gcc-libs 14.2.1-1 -> 14.2.2-1\n") == 2


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_pacman_in_another_form_names_no_number(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_pacman(text)


ALPINE = """Installed:                                Available:
alpine-baselayout-3.6.5-r0              < 3.6.8-r1
busybox-1.36.1-r29                      < 1.36.1-r31
libcrypto3-3.3.2-r0                     < 3.3.2-r4
"""


def test_apk_lists_what_is_older_than_the_index() -> None:
    assert parse_apk(ALPINE) == 3
    assert parse_apk("Installed:                                Available:\n") == 0


@pytest.mark.parametrize("text", ["", ALPINE[40:], *HOSTILE], ids=lambda text: ascii(text[:20]))
def test_apk_without_its_heading_is_not_nothing_to_do(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_apk(text)


def apt_config(lists: str, upgrade: str, *more: str) -> str:
    lines = [f'APT::Periodic::Update-Package-Lists "{lists}";', f'APT::Periodic::Unattended-Upgrade "{upgrade}";']
    return "\n".join(['APT "";', 'APT::Architecture "amd64";', *lines, *more, ""])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (apt_config("1", "1"), True),
        (apt_config("7", "always"), True),
        (apt_config("0", "1"), False),
        (apt_config("1", "0"), False),
        (apt_config("1", ""), False),
        (apt_config("1", "1", 'APT::Periodic::Enable "0";'), False),
        ('APT::Architecture "amd64";\n', False),
    ],
)
def test_unattended_upgrades_need_the_lists_and_the_upgrade(text: str, expected: bool) -> None:
    assert parse_apt_config(text) is expected


@pytest.mark.parametrize("text", ["", *HOSTILE], ids=lambda text: ascii(text[:20]))
def test_a_configuration_of_apt_that_says_nothing_is_no_answer(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_apt_config(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[commands]\nupgrade_type = default\napply_updates = yes\n", True),
        ("[commands]\napply_updates = no\n", False),
        ("[commands]\ndownload_updates = yes\n", False),
        ("", False),
    ],
)
def test_dnf_automatic_installs_only_when_it_is_told_to(text: str, expected: bool) -> None:
    assert parse_automatic(text) is expected


@pytest.mark.parametrize("text", ["[commands", "apply_updates = yes", "[commands]\napply_updates = vielleicht\n"])
def test_an_automatic_conf_that_cannot_be_read_is_no_answer(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_automatic(text)


def test_an_answer_is_kept_while_nothing_changed_and_a_failure_never_is() -> None:
    asked: list[str] = []

    def ask() -> int:
        asked.append("once")
        if len(asked) == 1:
            raise Unreadable("locked")
        return len(asked)

    remembered = Remembered()
    with pytest.raises(Unreadable):
        remembered.get("waiting", 1, ask)
    assert [remembered.get("waiting", state, ask) for state in (1, 1, 2, 2)] == [2, 2, 3, 3]
