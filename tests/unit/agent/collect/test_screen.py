"""Whether an idle screen locks: who sits at one, and what their desktop is told to do."""

from __future__ import annotations

import pytest

from agent.collect.linux.screen import (
    Lock,
    Seated,
    gsettings_lock,
    kde_lock,
    parse_logind,
    parse_sessions,
    parse_setting,
    shell,
)
from agent.collect.reading import Unreadable


def session(**shown: str) -> str:
    usual = {"Name": "alice", "User": "1000", "Type": "wayland", "Class": "user", "Remote": "no", "State": "active"}
    return "\n".join(f"{name}={value}" for name, value in {**usual, "Desktop": "", **shown}.items())


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"Desktop": "ubuntu"}, Seated("alice", 1000, "wayland", "gnome")),  # Ubuntu 22.04, 24.04
        ({"Desktop": "GNOME"}, Seated("alice", 1000, "wayland", "gnome")),  # Debian, Fedora, RHEL
        ({"Desktop": "gnome-classic", "Type": "x11"}, Seated("alice", 1000, "x11", "gnome")),
        ({"Desktop": "KDE"}, Seated("alice", 1000, "wayland", "kde")),  # openSUSE, Arch
        ({"Desktop": "plasmax11", "Type": "x11"}, Seated("alice", 1000, "x11", "kde")),
        ({"Desktop": "X-Cinnamon"}, Seated("alice", 1000, "wayland", "cinnamon")),
        ({"Desktop": "sway"}, Seated("alice", 1000, "wayland", "sway")),
        ({"Type": "tty"}, Seated("alice", 1000, "tty", "")),
        ({"Remote": "yes", "Type": "tty"}, None),
        ({"Class": "greeter", "Name": "gdm"}, None),
        ({"Class": "manager", "Type": "unspecified"}, None),
        ({"State": "closing"}, None),
    ],
)
def test_who_sits_at_a_screen(shown: dict[str, str], expected: Seated | None) -> None:
    assert parse_sessions(session(**shown)) == ([expected] if expected else [])


def test_several_people_are_several_sessions() -> None:
    text = session(Desktop="KDE") + "\n\n" + session(Name="bob", User="1001", Desktop="GNOME") + "\n"
    assert [person.name for person in parse_sessions(text)] == ["alice", "bob"]
    assert parse_sessions("") == []


@pytest.mark.parametrize(
    "text", ["\0", "Failed to get session: nope", session(User="root"), "Name=alice", "=" * (1 << 20)]
)
def test_sessions_in_another_form_are_not_nobody(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_sessions(text)


@pytest.mark.parametrize(
    ("enabled", "delay", "idle", "lock"),
    [
        ("true\n", "uint32 0\n", "uint32 300\n", Lock(300)),
        ("true\n", "uint32 30\n", "uint32 300\n", Lock(330)),
        ("false\n", "uint32 0\n", "uint32 300\n", Lock(None)),
        ("true\n", "uint32 0\n", "uint32 0\n", Lock(None)),
    ],
)
def test_gnome_locks_when_it_is_told_to_and_is_ever_idle(enabled: str, delay: str, idle: str, lock: Lock) -> None:
    assert gsettings_lock(enabled, delay, idle) == lock


@pytest.mark.parametrize("text", ["", "No such schema", "uint32", "vrai", "-1", "true false", "\0", "9" * 100])
def test_another_answer_of_gsettings_is_no_setting(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_setting(text)


@pytest.mark.parametrize(
    ("files", "lock"),
    [
        ((), Lock(305)),
        (("[Daemon]\nTimeout=10\n",), Lock(605)),
        (("[Daemon]\nAutolock=false\n",), Lock(None)),
        (("[Daemon]\nTimeout=0\n",), Lock(None)),
        (("[Daemon]\nLockGrace=0\nTimeout=1\n",), Lock(60)),
        (("[Daemon]\nTimeout=3\n", "[Daemon]\nTimeout=60\n"), Lock(3605)),
        (("[Daemon]\nTimeout[$i]=3\n", "[Daemon]\nTimeout=60\n"), Lock(185)),
        (("[Daemon]\nAutolock[$i]=true\n", "[Daemon]\nAutolock=false\n"), Lock(305)),
        (("[Greeter]\nTheme=x\n",), Lock(305)),
    ],
)
def test_kde_locks_after_minutes_and_what_the_system_fixed_holds(files: tuple[str, ...], lock: Lock) -> None:
    assert kde_lock(*files) == lock


@pytest.mark.parametrize("text", ["[Daemon", "[Daemon]\nTimeout=bald\n", "x" * 1000, "[Daemon]\nTimeout=nan\nx"])
def test_settings_of_kde_that_cannot_be_read_are_not_the_usual_ones(text: str) -> None:
    with pytest.raises(Unreadable):
        kde_lock(text)


@pytest.mark.parametrize(
    ("text", "lock"),
    [('s "lock"\nt 300000000\n', Lock(300)), ('s "ignore"\nt 1800000000\n', Lock(None)), ('s ""\nt 0\n', Lock(None))],
)
def test_logind_says_what_it_does_with_an_idle_session(text: str, lock: Lock) -> None:
    assert parse_logind(text) == lock


@pytest.mark.parametrize("text", ["", "\0", 's "lock"', "Failed to get property", 's "lock"\nt x\n'])
def test_another_answer_of_logind_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_logind(text)


def test_a_desktop_shows_in_the_programs_of_its_user() -> None:
    assert shell({"bash", "gnome-shell"}) == "gnome"
    assert shell({"plasmashell"}) == "kde"
    assert shell({"sway"}) is None
