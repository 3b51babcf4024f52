"""Updates that wait, as apt or dnf sees them, and when their lists were last renewed: old lists hide updates."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from agent.collect.reading import ENVIRONMENT, Unreadable, command, run, stated
from agent.wire import Fact

FACTS: Final = ("patches.pending", "patches.security_pending", "patches.lists_updated_at")
SLOW: Final = 120.0
"""Seconds that a package manager may take; it runs at the lowest priority."""

APT: Final = ("apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "--with-new-pkgs", "upgrade")
APT_STAMPS: Final = (Path("/var/lib/apt/periodic/update-success-stamp"), Path("/var/lib/apt/lists"))
"""What a successful `apt update` touches. Files in lists/ carry the archive's date, not the day they were fetched."""
DNF: Final = ("dnf", "--quiet", "--cacheonly")
DNF_STAMPS: Final = (
    "/var/cache/dnf/last_makecache",
    "/var/cache/dnf/*/repodata/repomd.xml",
    "/var/cache/libdnf5/*/repodata/repomd.xml",
)

_APT_SUMMARY = re.compile(r"(?P<upgraded>\d{1,6}) upgraded, (?P<new>\d{1,6}) newly installed, .*", re.ASCII)
_APT_INST = re.compile(r"Inst (?P<package>\S+) (?:\[[^]]*\] )?\((?P<version>\S+) (?P<origins>[^[)]*)")
_APT_SECURITY = re.compile(r"-security(?:[/,\s]|$)|Debian-Security:|UbuntuESM", re.IGNORECASE)
_DNF_NAME = re.compile(r"[\w.+-]+\.\w+", re.ASCII)
_DNF_ADVISORY = re.compile(r"[\w:.-]*\d[\w:.-]*", re.ASCII)
_DNF_REMARKS = ("Last metadata expiration check", "Security: ", "Updating and loading", "Repositories loaded")
_OTHER_ADVISORIES: Final = {"bugfix", "enhancement", "newpackage", "unknown"}
LONGEST_LINE: Final = 1000


def collect(*, now: float) -> dict[str, Fact]:
    """Ask the package manager that is there. Raises Unreadable when there is none that we know."""
    if shutil.which("apt-get", path=ENVIRONMENT["PATH"]):
        return _apt(now)
    if shutil.which("dnf", path=ENVIRONMENT["PATH"]):
        return _dnf(now)
    raise Unreadable("neither apt nor dnf is installed")


def _apt(now: float) -> dict[str, Fact]:
    pending, security = parse_apt(command("nice", "-n", "19", *APT, timeout=SLOW))
    renewed = newest(APT_STAMPS)
    return {
        **stated("apt-get --simulate upgrade", now, patches__pending=pending, patches__security_pending=security),
        **stated("/var/lib/apt", now, patches__lists_updated_at=renewed),
    }


def _dnf(now: float) -> dict[str, Fact]:
    # dnf(8): check-update exits with 100 when there are updates
    status, listed = run("nice", "-n", "19", *DNF, "check-update", timeout=SLOW, statuses=(0, 100))
    pending = parse_dnf_check_update(listed)
    if status and not pending:
        raise Unreadable("dnf check-update names none of the updates that it says there are")
    listed = command("nice", "-n", "19", *DNF, "updateinfo", "list", "--security", timeout=SLOW)
    renewed = newest(path for pattern in DNF_STAMPS for path in Path("/").glob(pattern.lstrip("/")))
    return {
        **stated("dnf check-update", now, patches__pending=pending),
        **stated("dnf updateinfo", now, patches__security_pending=_dnf_security(listed, pending)),
        **stated("/var/cache/dnf", now, patches__lists_updated_at=renewed),
    }


def _dnf_security(listed: str, pending: int) -> int | None:
    """None when the repositories of this distribution carry no advisories at all: their silence means nothing."""
    security = parse_dnf_updateinfo(listed)
    if pending and not security:
        return 0 if command("nice", "-n", "19", *DNF, "updateinfo", "list", "--all", timeout=SLOW).strip() else None
    return security


def parse_apt(text: str) -> tuple[int, int]:
    """Count the packages that `apt-get --simulate upgrade` would install, and those of a security archive.

    Raises Unreadable unless apt's own summary counts the same: nothing to do and nothing understood are not the same.
    """
    lines = [line for line in text.split("\n") if len(line) <= LONGEST_LINE]
    summaries = [found for found in map(_APT_SUMMARY.fullmatch, lines) if found]
    waiting = [found for found in map(_APT_INST.match, lines) if found]
    if len(summaries) != 1 or int(summaries[0]["upgraded"]) + int(summaries[0]["new"]) != len(waiting):
        raise Unreadable("apt-get --simulate upgrade gave no summary of what it lists")
    return len(waiting), sum(bool(_APT_SECURITY.search(found["origins"])) for found in waiting)


def parse_dnf_check_update(text: str) -> int:
    """Count the packages of `dnf check-update`, those that replace obsolete ones too. No output: no updates.

    Raises Unreadable for a line that is neither a package nor a remark of dnf.
    """
    packages, obsoleting = set(), False
    for line in _dnf_lines(text):
        words = line.split()
        if line.lower().rstrip() == "obsoleting packages":
            obsoleting = True
            continue
        if obsoleting and line.startswith("    "):  # what is obsolete, below its heir
            continue
        if len(words) != 3 or not _DNF_NAME.fullmatch(words[0]):
            raise Unreadable("dnf check-update gave a line that names no package")
        packages.add(words[0])
    return len(packages)


def parse_dnf_updateinfo(text: str) -> int:
    """Count the packages, not the advisories, of `dnf updateinfo list --security` (dnf 4 and 5). No output: none.

    Raises Unreadable for a line that is no security advisory.
    """
    packages = set()
    for line in _dnf_lines(text):
        words = line.split()
        if words[0] == "Name":  # the heading of dnf 5
            continue
        if len(words) < 3 or not _DNF_ADVISORY.fullmatch(words[0]):
            raise Unreadable("dnf updateinfo gave a line that names no advisory")
        if words[1] == "security":  # dnf 5: the severity is a column of its own
            packages.add(_package_name(words[3] if len(words) > 3 else ""))
        elif words[1].endswith("/Sec."):
            packages.add(_package_name(words[2]))
        elif words[1] not in _OTHER_ADVISORIES:
            raise Unreadable("dnf updateinfo gave a kind of advisory that is not known")
    return len(packages)


def _dnf_lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if len(line) > LONGEST_LINE:
            raise Unreadable("dnf gave a line without an end")
        if line.strip() and not line.startswith(_DNF_REMARKS):
            yield line


def _package_name(nevra: str) -> str:
    """name-version-release.arch without version and release: several advisories of one package are one update."""
    name, _, architecture = nevra.rpartition(".")
    if name.count("-") < 2 or not architecture.replace("_", "").isalnum():
        raise Unreadable("dnf updateinfo gave an advisory without a package")
    return f"{name.rsplit('-', 2)[0]}.{architecture}"


def newest(paths: Iterable[Path]) -> float | None:
    """The latest time of change of those that exist, in Unix seconds."""
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)
