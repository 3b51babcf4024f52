"""Updates that wait, as apt or dnf sees them, and when their lists were last renewed: old lists hide updates."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.collect.reading import ENVIRONMENT, Unreadable, command, stated
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

_APT_INST = re.compile(r"^Inst (?P<package>\S+) (?:\[[^]]*\] )?\((?P<version>\S+) (?P<origins>[^[)]*)", re.MULTILINE)
_APT_SECURITY = re.compile(r"-security(?:[/,\s]|$)|Debian-Security:|UbuntuESM", re.IGNORECASE)
_DNF_UPDATE = re.compile(r"^(?P<package>[\w.+-]+\.[\w]+) +(?P<version>\S+) +(?P<repository>\S+)\s*$")
_DNF_ADVISORY = re.compile(
    r"^(?P<advisory>\S+) +(?P<kind>[\w./-]*security\S*|\w+/Sec\.) +(?:\w+ +)?(?P<package>\S+-\S+-\S+\.\w+)\b"
)


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
    pending = parse_dnf_check_update(command("nice", "-n", "19", *DNF, "check-update", timeout=SLOW, statuses=(0, 100)))
    listed = command("nice", "-n", "19", *DNF, "updateinfo", "list", "--security", timeout=SLOW)
    renewed = newest(path for pattern in DNF_STAMPS for path in Path("/").glob(pattern.lstrip("/")))
    return {
        **stated("dnf check-update", now, patches__pending=pending),
        **stated("dnf updateinfo", now, patches__security_pending=parse_dnf_updateinfo(listed)),
        **stated("/var/cache/dnf", now, patches__lists_updated_at=renewed),
    }


def parse_apt(text: str) -> tuple[int, int]:
    """Count the packages that `apt-get --simulate upgrade` would install, and those of a security archive.

    Raises Unreadable for an output without apt's own summary: nothing to do and nothing understood are not the same.
    """
    if not re.search(r"^\d+ upgraded, \d+ newly installed", text, re.MULTILINE):
        raise Unreadable("apt-get --simulate upgrade gave no summary")
    waiting = list(_APT_INST.finditer(text))
    return len(waiting), sum(bool(_APT_SECURITY.search(found["origins"])) for found in waiting)


def parse_dnf_check_update(text: str) -> int:
    """Count the packages of `dnf check-update`; those under Obsoleting Packages are counted already."""
    lines = text.partition("\nObsoleting")[0].splitlines()
    return sum(bool(_DNF_UPDATE.match(line)) for line in lines)


def parse_dnf_updateinfo(text: str) -> int:
    """Count the packages, not the advisories, of `dnf updateinfo list --security` (dnf 4 and 5)."""
    found = (_DNF_ADVISORY.match(line) for line in text.splitlines())
    return len({_package_name(advisory["package"]) for advisory in found if advisory})


def _package_name(nevra: str) -> str:
    """name-version-release.arch without version and release: several advisories of one package are one update."""
    return f"{nevra.rsplit('-', 2)[0]}.{nevra.rpartition('.')[2]}"


def newest(paths: Iterable[Path]) -> float | None:
    """The latest time of change of those that exist, in Unix seconds."""
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)
