"""Who may become root, by user id, by sudoers in all its forms, by doas."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.collect.linux.sudoers import Grant, parse_sudoers
from agent.collect.linux.users import Accounts, parse_accounts, parse_doas, people, sudo_grants
from agent.collect.reading import Unreadable

DEBIAN = """Defaults\tenv_reset
Defaults\tsecure_path="/usr/sbin:/usr/bin"
root\tALL=(ALL:ALL) ALL
%sudo\tALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
FEDORA = "Defaults !visiblepw\nroot\tALL=(ALL) \tALL\n%wheel\tALL=(ALL)\tALL\n# %wheel ALL=(ALL) NOPASSWD: ALL\n"
CLOUD = "ubuntu ALL=(ALL) NOPASSWD:ALL\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEBIAN, [("root", False), ("%sudo", False)]),
        (FEDORA, [("root", False), ("%wheel", False)]),
        (CLOUD, [("ubuntu", True)]),
        ("bob ALL = NOPASSWD: /usr/bin/apt\n", []),
        ("bob ALL=(www-data) ALL\n", []),
        ("bob ALL=(www-data, root) ALL\n", [("bob", False)]),
        ("bob ALL=(:adm) ALL\n", []),
        ("bob ALL=ALL\n", [("bob", False)]),
        ("bob ALL=(ALL) NOPASSWD: /bin/ls, PASSWD: ALL\n", [("bob", False)]),
        ("bob ALL=(ALL) /bin/ls, NOPASSWD: SETENV: ALL\n", [("bob", True)]),
        ("bob ALL=(ALL) /usr/bin/bash\n", [("bob", False)]),
        ("bob, carol ALL=(ALL) ALL\n", [("bob", False), ("carol", False)]),
        ("User_Alias OPS = dave, %ops\nOPS ALL=(ALL) ALL\n", [("dave", False), ("%ops", False)]),
        ("Cmnd_Alias ANY = ALL\nbob ALL=(ALL) ANY\n", [("bob", False)]),
        ("Runas_Alias R = root\nbob ALL=(R) NOPASSWD: ALL\n", [("bob", True)]),
        ("Defaults !authenticate\nbob ALL=(ALL) ALL\n", [("bob", True)]),
        ("ALL, !guest ALL=(ALL) ALL\n", [("ALL", False)]),
        ("#1000 ALL=(ALL) ALL\n", [("#1000", False)]),
        ("%#27 ALL=(ALL) ALL # the group of sudo\n", [("%#27", False)]),
        ("%domain\\ admins ALL=(ALL) ALL\n", [("%domain admins", False)]),
        ("bob \\\n  ALL=(ALL) \\\n  ALL\n", [("bob", False)]),
        ("# bob ALL=(ALL) ALL\n", []),
        ("User_Alias A = B\nUser_Alias B = A\nA ALL=ALL\n", []),
        ("", []),
        ("\0", []),
        ("=" * 10_000, []),
        ("x" * (10 << 20), []),
    ],
)
def test_a_rule_makes_administrators_of_whom_it_lets_run_everything_as_root(
    text: str, expected: list[tuple[str, bool]]
) -> None:
    found, _ = parse_sudoers(text)
    assert [(grant.who, grant.without_password) for grant in found if grant.who not in ("A", "B")] == expected


def test_aliases_in_a_circle_end() -> None:
    assert {grant.who for grant in parse_sudoers("User_Alias A = B\nUser_Alias B = A\nA ALL=ALL\n")[0]} <= {"A", "B"}


def test_included_files_count_and_those_with_a_dot_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "sudoers.d"
    folder.mkdir()
    (folder / "90-bob").write_text("bob ALL=(ALL) NOPASSWD: ALL\n")
    (folder / "old.bak").write_text("mallory ALL=(ALL) ALL\n")
    (folder / "kept~").write_text("mallory ALL=(ALL) ALL\n")
    start = tmp_path / "sudoers"
    start.write_text(f"root ALL=(ALL) ALL\n@includedir {folder}\n@include {start}\n#include {tmp_path}/gone\n")
    assert sudo_grants(start) == [Grant("root", False), Grant("bob", True)]


def test_what_sudo_itself_says_is_the_same(tmp_path: Path) -> None:
    """visudo accepts the table's rules: they are sudoers and not our own idea of it."""
    visudo = shutil.which("visudo", path="/usr/sbin")
    assert visudo, "sudo is in .ci/system-packages"
    rules = tmp_path / "sudoers"
    for text in (DEBIAN.replace("@includedir /etc/sudoers.d\n", ""), FEDORA, CLOUD, "bob ALL=(www-data, root) ALL\n"):
        rules.write_text(text)
        rules.chmod(0o440)
        subprocess.run([visudo, "--check", "--quiet", f"--file={rules}"], check=True)


PASSWD = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n"
GROUP = "root:x:0:\nsudo:x:27:alice,bob\nalice:x:1000:\n"


def test_accounts_know_their_members_primary_ones_too() -> None:
    found = parse_accounts(PASSWD, GROUP)
    assert found.uids == {"root": 0, "alice": 1000, "toor": 0}
    assert found.members["sudo"] == {"alice", "bob"}
    assert found.members["alice"] == {"alice"}


@pytest.mark.parametrize(
    "text", ["", "\0", "alice:x:1000:1000::/home/alice:/bin/bash\n", "root:x:0:0", "x" * (10 << 20)]
)
def test_accounts_without_root_cannot_be_right(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_accounts(text, GROUP)


ACCOUNTS = Accounts({"root": 0, "alice": 1000}, {"sudo": 27}, {"sudo": frozenset({"alice", "bob"})})


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("alice", {"alice"}),
        ("%sudo", {"alice", "bob"}),
        ("%#27", {"alice", "bob"}),
        ("#1000", {"alice"}),
        ("#4711", {"#4711"}),
        ("%nobody-knows", {"%nobody-knows"}),
        ("ALL", {"ALL"}),
    ],
)
def test_a_subject_stands_for_people(who: str, expected: set[str]) -> None:
    assert people(who, ACCOUNTS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("permit persist :wheel\n", [Grant("%wheel", False)]),  # Alpine
        ("permit nopass alice as root\n", [Grant("alice", True)]),
        ("permit keepenv setenv { PATH } bob\n", [Grant("bob", False)]),
        ("permit alice as www\n", []),
        ("permit nopass alice cmd reboot\n", []),
        ("deny alice\n", []),
        ("# permit alice\n", []),
        ("\0", []),
        ("permit " * 100_000, []),
    ],
)
def test_doas_permits_whom_it_names(text: str, expected: list[Grant]) -> None:
    assert parse_doas(text) == expected
