"""dnf 4 and 5, of Fedora, Red Hat and their kin."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.collect.linux.packages import NICE, SLOW, Manager, Waiting, lines
from agent.collect.reading import Unreadable, attempt, command, file, run

DNF: Final = ("dnf", "--quiet", "--cacheonly")
AUTOMATIC: Final = (Path("/etc/dnf/automatic.conf"), Path("/etc/dnf/dnf5-plugins/automatic.conf"))
TIMERS: Final = ("dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer")
INSTALLS_ANYWAY: Final = "dnf-automatic-install.timer"
_NAME = re.compile(r"[\w.+-]+\.\w+", re.ASCII)
_ADVISORY = re.compile(r"[\w:.-]*\d[\w:.-]*", re.ASCII)
_REMARKS = ("Last metadata expiration check", "Security: ", "Updating and loading", "Repositories loaded")
_OTHER_ADVISORIES: Final = {"bugfix", "enhancement", "newpackage", "unknown"}


def _waiting() -> Waiting:
    # dnf(8): check-update exits with 100 when there are updates
    status, listed = run(*NICE, *DNF, "check-update", timeout=SLOW, statuses=(0, 100))
    pending = parse_dnf_check_update(listed)
    if status and not pending:
        raise Unreadable("dnf check-update names none of the updates that it says there are")
    listed = command(*NICE, *DNF, "updateinfo", "list", "--security", timeout=SLOW)
    return Waiting(pending, _security(listed, pending), "dnf check-update, updateinfo")


def _security(listed: str, pending: int) -> int | None:
    """None when the repositories of this distribution carry no advisories at all: their silence means nothing."""
    security = parse_dnf_updateinfo(listed)
    if pending and not security:
        return 0 if command(*NICE, *DNF, "updateinfo", "list", "--all", timeout=SLOW).strip() else None
    return security


def parse_dnf_check_update(text: str) -> int:
    """Count the packages of `dnf check-update`, those that replace obsolete ones too. No output: no updates.

    Raises Unreadable for a line that is neither a package nor a remark of dnf.
    """
    packages, obsoleting = set(), False
    for line in _lines(text):
        words = line.split()
        if line.lower().rstrip() == "obsoleting packages":
            obsoleting = True
            continue
        if obsoleting and line.startswith("    "):  # what is obsolete, below its heir
            continue
        if len(words) != 3 or not _NAME.fullmatch(words[0]):
            raise Unreadable("dnf check-update gave a line that names no package")
        packages.add(words[0])
    return len(packages)


def parse_dnf_updateinfo(text: str) -> int:
    """Count the packages, not the advisories, of `dnf updateinfo list --security` (dnf 4 and 5). No output: none.

    Raises Unreadable for a line that is no security advisory.
    """
    packages = set()
    for line in _lines(text):
        words = line.split()
        if words[0] == "Name":  # the heading of dnf 5
            continue
        if len(words) < 3 or not _ADVISORY.fullmatch(words[0]):
            raise Unreadable("dnf updateinfo gave a line that names no advisory")
        if words[1] == "security":  # dnf 5: the severity is a column of its own
            packages.add(_package_name(words[3] if len(words) > 3 else ""))
        elif words[1].endswith("/Sec."):
            packages.add(_package_name(words[2]))
        elif words[1] not in _OTHER_ADVISORIES:
            raise Unreadable("dnf updateinfo gave a kind of advisory that is not known")
    return len(packages)


def _lines(text: str) -> Iterator[str]:
    return (line for line in lines(text, "dnf") if not line.startswith(_REMARKS))


def _package_name(nevra: str) -> str:
    """name-version-release.arch without version and release: several advisories of one package are one update."""
    name, _, architecture = nevra.rpartition(".")
    if name.count("-") < 2 or not architecture.replace("_", "").isalnum():
        raise Unreadable("dnf updateinfo gave an advisory without a package")
    return f"{name.rsplit('-', 2)[0]}.{architecture}"


def _automatic() -> bool:
    enabled = [timer for timer in TIMERS if attempt(lambda timer=timer: _is_enabled(timer))]  # type: ignore[misc]
    if INSTALLS_ANYWAY in enabled:
        return True
    settings = next((path for path in AUTOMATIC if path.exists()), None)
    return bool(enabled) and settings is not None and parse_automatic(file(settings))


def _is_enabled(unit: str) -> bool:
    """systemctl(1), is-enabled: status 1 for what is there and not enabled, 4 for what is not there."""
    return command("systemctl", "is-enabled", unit, statuses=(0, 1, 4)).strip() in ("enabled", "enabled-runtime")


def parse_automatic(text: str) -> bool:
    """Read automatic.conf of dnf-automatic: whether it installs what it finds. Raises Unreadable."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text.replace("\0", ""))
        return parser.getboolean("commands", "apply_updates", fallback=False)
    except (configparser.Error, ValueError):
        raise Unreadable("dnf's automatic.conf cannot be read") from None


DNF_MANAGER: Final = Manager(
    program="dnf",
    waiting=_waiting,
    automatic=_automatic,
    lists=(
        "/var/cache/dnf/last_makecache",
        "/var/cache/dnf/*/repodata/repomd.xml",
        "/var/cache/libdnf5/*/repodata/repomd.xml",
    ),
    installed=("/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"),
    settings=("/etc/dnf/*", "/etc/yum.repos.d/*"),
)
