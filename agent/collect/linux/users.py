"""Who may become root: user id 0, sudoers and doas, with the members of the groups that these name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agent.collect.linux.sudoers import Grant, parse_sudoers
from agent.collect.reading import Unreadable, attempt, command, file, stated, texts
from agent.wire import Fact

FACTS: Final = ("users.administrators", "users.without_password")
SUDOERS: Final = (Path("/etc/sudoers"), Path("/usr/etc/sudoers"))
"""The second is where openSUSE ships it; the first wins when it exists."""
DOAS: Final = (Path("/etc/doas.conf"), Path("/etc/doas.d"))
MOST_FILES: Final = 200
_DOAS = re.compile(r"\s*permit\s+(?P<options>(?:(?:nopass|persist|keepenv|nolog|setenv\s*\{[^}]*\})\s+)*)(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Accounts:
    """The local accounts, and the groups with their members; primary groups count."""

    uids: Mapping[str, int]
    gids: Mapping[str, int]
    members: Mapping[str, frozenset[str]]


def collect(*, now: float) -> dict[str, Fact]:
    """Read the accounts and the rules. Raises Unreadable when a rule file exists and cannot be read."""
    accounts = parse_accounts(file("/etc/passwd"), file("/etc/group"))
    grants = [*_sudo(), *_doas()]
    accounts = _with_domain_groups(accounts, grants)
    administrators = {name for name, uid in accounts.uids.items() if uid == 0} | _people(grants, accounts)
    free = _people([grant for grant in grants if grant.without_password], accounts)
    return stated(
        "/etc/passwd, sudoers, doas.conf",
        now,
        users__administrators=texts(administrators),
        users__without_password=texts(free),
    )


def parse_accounts(passwd: str, group: str) -> Accounts:
    """Read passwd(5) and group(5). Raises Unreadable without a root."""
    people = [fields for line in passwd.split("\n") if len(fields := line.split(":")) == 7 and fields[2].isdigit()]
    groups = [fields for line in group.split("\n") if len(fields := line.split(":")) == 4 and fields[2].isdigit()]
    uids = {fields[0]: int(fields[2]) for fields in people}
    if 0 not in uids.values():
        raise Unreadable("/etc/passwd has no root")
    gids = {fields[0]: int(fields[2]) for fields in groups}
    members = {
        fields[0]: frozenset(filter(None, fields[3].split(",")))
        | {person[0] for person in people if person[3] == fields[2]}
        for fields in groups
    }
    return Accounts(uids, gids, members)


def _with_domain_groups(accounts: Accounts, grants: Iterable[Grant]) -> Accounts:
    """Ask the directory, by getent(1), for the groups that a rule names and this machine does not have."""
    wanted = {grant.who.lstrip("%") for grant in grants if grant.who.startswith("%") and grant.who[1:2] not in "#:"}
    known = dict(accounts.members)
    for name in sorted(wanted - set(known)):
        line = attempt(partial(command, "getent", "group", name, timeout=3.0))
        fields = line.strip().split(":") if line else []
        known[name] = frozenset(filter(None, fields[3].split(","))) if len(fields) == 4 else frozenset({f"%{name}"})
    return Accounts(accounts.uids, accounts.gids, known)


def _people(grants: Iterable[Grant], accounts: Accounts) -> set[str]:
    return {name for grant in grants for name in people(grant.who, accounts)}


def people(who: str, accounts: Accounts) -> set[str]:
    """Whom a subject of a rule stands for. What nobody can resolve stays as it is written: it may be somebody."""
    if who == "ALL":
        return {"ALL"}
    if who.startswith(("%#", "#")):
        ids = accounts.gids if who.startswith("%") else accounts.uids
        number = who.lstrip("%#")
        named = {name for name, each in ids.items() if str(each) == number}
        return {p for name in named for p in accounts.members.get(name, ())} if who.startswith("%") else named or {who}
    if who.startswith("%"):
        return set(accounts.members.get(who[1:], {who}))
    return {who}


def _sudo() -> list[Grant]:
    start = next((path for path in SUDOERS if path.exists()), None)
    return sudo_grants(start) if start else []


def sudo_grants(start: Path) -> list[Grant]:
    """The grants of a sudoers file and of all that it includes. Raises Unreadable."""
    waiting, seen, grants = [start], set[Path](), list[Grant]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > MOST_FILES:
            raise Unreadable(f"{start} includes more than {MOST_FILES} files")
        found, includes = parse_sudoers(file(path))
        grants += found
        for kind, named in includes:
            target = path.parent / named
            waiting += _folder(target) if kind == "folder" else [target] if target.exists() else []
    return grants


def _folder(folder: Path) -> list[Path]:
    """sudoers(5): names that end in ~ or have a dot are passed over."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not re.search(r"~$|\.", path.name)]


def _doas() -> list[Grant]:
    files = [DOAS[0]] if DOAS[0].exists() else []
    files += sorted(DOAS[1].glob("*.conf")) if DOAS[1].is_dir() else []
    return [grant for path in files for grant in parse_doas(file(path))]


def parse_doas(said: str) -> list[Grant]:
    """Read doas.conf(5): `permit [options] identity [as root] [cmd …]`. A rule with a command of its own is none of ours."""
    found = []
    for line in said.split("\n"):
        rule = _DOAS.fullmatch(line.partition("#")[0].rstrip()) if len(line) < 1000 else None
        words = rule["rest"].split() if rule else []
        if rule and words and "cmd" not in words and ("as" not in words or "root" in words):
            found.append(Grant(words[0].replace(":", "%", 1), "nopass" in rule["options"].split()))
    return found
