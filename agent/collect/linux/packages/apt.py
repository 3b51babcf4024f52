"""apt, of Debian and Ubuntu."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.collect.linux.packages import LONGEST_LINE, NICE, SLOW, Manager, Waiting
from agent.collect.reading import Unreadable, command

SIMULATE: Final = ("apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "--with-new-pkgs", "upgrade")
UNATTENDED: Final = Path("/usr/bin/unattended-upgrade")
_SUMMARY = re.compile(r"(?P<upgraded>\d{1,6}) upgraded, (?P<new>\d{1,6}) newly installed, .*", re.ASCII)
_INST = re.compile(r"Inst (?P<package>\S+) (?:\[[^]]*\] )?\((?P<version>\S+) (?P<origins>[^[)]*)")
_SECURITY = re.compile(r"-security(?:[/,\s]|$)|Debian-Security:|UbuntuESM", re.IGNORECASE)
_SETTING = re.compile(r'^(?P<name>[A-Za-z:-]+) "(?P<value>[^"]*)";$', re.MULTILINE)


def _waiting() -> Waiting:
    pending, security = parse_apt(command(*NICE, *SIMULATE, timeout=SLOW))
    return Waiting(pending, security, "apt-get --simulate upgrade")


def parse_apt(text: str) -> tuple[int, int]:
    """Count the packages that `apt-get --simulate upgrade` would install, and those of a security archive.

    Raises Unreadable unless apt's own summary counts the same: nothing to do and nothing understood are not the same.
    """
    lines = [line for line in text.split("\n") if len(line) <= LONGEST_LINE]
    summaries = [found for found in map(_SUMMARY.fullmatch, lines) if found]
    waiting = [found for found in map(_INST.match, lines) if found]
    if len(summaries) != 1 or int(summaries[0]["upgraded"]) + int(summaries[0]["new"]) != len(waiting):
        raise Unreadable("apt-get --simulate upgrade gave no summary of what it lists")
    return len(waiting), sum(bool(_SECURITY.search(found["origins"])) for found in waiting)


def _automatic() -> bool:
    return UNATTENDED.exists() and parse_apt_config(command("apt-config", "dump", timeout=SLOW))


def parse_apt_config(text: str) -> bool:
    """Read `apt-config dump`: whether the daily job renews the lists and runs unattended-upgrade. Raises Unreadable."""
    settings = {found["name"]: found["value"] for found in _SETTING.finditer(text)}
    if "Dir" not in settings and "APT::Architecture" not in settings:
        raise Unreadable("apt-config gave no settings")
    periodic = [settings.get(f"APT::Periodic::{name}", "0") for name in ("Update-Package-Lists", "Unattended-Upgrade")]
    return settings.get("APT::Periodic::Enable", "1") != "0" and all(value not in ("0", "") for value in periodic)


APT: Final = Manager(
    program="apt-get",
    waiting=_waiting,
    automatic=_automatic,
    # What a successful `apt update` touches; files in lists/ carry the archive's date, not the day they were fetched.
    lists=("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"),
    installed=("/var/lib/dpkg/info",),
    settings=("/var/lib/dpkg/status", "/etc/apt/*", "/etc/apt/*/*"),
)
