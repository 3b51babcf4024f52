"""Who a sudoers file lets become root (sudoers(5)): the part of its grammar that says who, as whom, and which commands.

Where a line leaves a doubt it grants: a policy about administrators is there to find one too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

LONGEST_LINE: Final = 16384
DEEPEST: Final = 16
"""Aliases within aliases."""
INCLUDES: Final = ("@includedir", "#includedir", "@include", "#include")
ALIASES: Final = ("User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias")
TAGS: Final = re.compile(
    r"((NO)?(PASSWD|EXEC|FOLLOW|INTERCEPT|LOG_INPUT|LOG_OUTPUT|MAIL|SETENV)|(ROLE|TYPE|APPARMOR_PROFILE|PRIVS|LIMITPRIVS|"
    r"TIMEOUT|CWD|CHROOT|NOTBEFORE|NOTAFTER)=\S+)\s*:?\s*"
)
_GRANT = re.compile(r"(?P<who>[^=]+?)\s+(?P<hosts>\S+(?:\s*,\s*\S+)*)\s*=\s*(?P<what>.+)")
_RUNAS = re.compile(r"\(\s*(?P<users>[^:)]*)(?::[^)]*)?\)\s*")


@dataclass(frozen=True, slots=True)
class Grant:
    """One subject that may become root by any command: a user, `%group`, `#uid`, `%#gid`, or `ALL`."""

    who: str
    without_password: bool


def parse_sudoers(said: str) -> tuple[list[Grant], list[tuple[str, str]]]:
    """Read a file: its grants, and what it includes as (`file` or `folder`, path)."""
    lines = [line for line in _lines(said) if len(line) <= LONGEST_LINE]
    aliases = _aliases(lines)
    asks = not any(re.fullmatch(r"Defaults\s+!authenticate", line) for line in lines)
    grants: list[Grant] = []
    includes = []
    for line in lines:
        words = line.split(None, 1)
        if words[0] in INCLUDES and len(words) == 2:
            includes.append(("folder" if words[0].endswith("dir") else "file", words[1].strip().strip('"')))
        elif not words[0].startswith(("Defaults", *ALIASES)) and (found := _GRANT.fullmatch(line)):
            grants += _grants(found["who"], found["what"], aliases, asks=asks)
    return grants, includes


def _lines(said: str) -> Iterator[str]:
    """Logical lines: continued by a backslash, without comments; `#1000` and `#include` are no comments."""
    for line in re.sub(r"\\\r?\n", " ", said).split("\n"):
        if re.match(r"\s*#(include(dir)?\s|\d)", line):
            yield line.strip()
        elif plain := re.sub(r"(^|\s)#(?!\d).*$", "", line.replace("\0", "")).strip():
            yield plain


def _aliases(lines: Iterable[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind in ALIASES:
            for each in rest.split(":"):
                name, equals, members = each.partition("=")
                if equals:
                    found[name.strip()] = _list(members)
    return found


def _grants(who: str, what: str, aliases: Mapping[str, list[str]], *, asks: bool) -> Iterator[Grant]:
    commands = list(_commands(what, aliases))
    if not any(root and everything for root, everything, _ in commands):
        return
    free = not asks or any(root and everything and nopasswd for root, everything, nopasswd in commands)
    for subject in _expanded(_list(who), aliases):
        if not subject.startswith("!"):
            yield Grant(subject.replace("\\", "").strip('"'), free)


def _commands(what: str, aliases: Mapping[str, list[str]]) -> Iterator[tuple[bool, bool, bool]]:
    """For each command: whether it runs as root, whether it stands for all commands, whether no password is asked.

    As whom and with which tags carries over to the commands that follow (sudoers(5)).
    """
    root, nopasswd = True, False
    for each in _list(what):
        rest = each
        if runas := _RUNAS.match(rest):
            users = _expanded(_list(runas["users"]), aliases)
            root, rest = any(user in ("ALL", "root", "#0") for user in users), rest[runas.end() :]
        while tag := TAGS.match(rest):
            nopasswd = {"NOPASSWD": True, "PASSWD": False}.get(tag[1], nopasswd)
            rest = rest[tag.end() :]
        names = _expanded([rest.strip()], aliases)
        yield root, any(name == "ALL" or name.endswith(SHELLS) for name in names), nopasswd


SHELLS: Final = ("/sh", "/bash", "/zsh", "/dash", "/fish", "/su", "/visudo", "/sudoedit")
"""Commands that are all commands."""


def _expanded(names: Iterable[str], aliases: Mapping[str, list[str]], depth: int = 0) -> list[str]:
    """Names with the aliases among them replaced by what they stand for."""
    found: list[str] = []
    for name in names:
        if name in aliases and depth < DEEPEST:
            found += _expanded(aliases[name], aliases, depth + 1)
        else:
            found.append(name)
    return found


def _list(said: str) -> list[str]:
    """A list with commas; those in parentheses, of (user, user:group), and escaped ones separate nothing."""
    return [part.strip() for part in re.split(r"(?<!\\),(?![^(]*\))", said) if part.strip()]
