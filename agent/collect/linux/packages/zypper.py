"""zypper, of openSUSE and SUSE. Security updates are patches; Tumbleweed has none, and a new snapshot brings all at once."""

from __future__ import annotations

import re
from typing import Final

from agent.collect.linux.packages import NICE, SLOW, Manager, Waiting, lines
from agent.collect.reading import Unreadable, command, file

ZYPPER: Final = ("zypper", "--non-interactive", "--no-refresh")
"""Not --quiet: that hides the sentence which says that nothing waits."""
NOTHING: Final = ("No updates found.", "No matching updates found.")
TIMERS: Final = ("os-update.timer", "transactional-update.timer")
_RULE = re.compile(r"-+(\+-+)+")
_REMARK = re.compile(
    r"(Loading|Reading|Warning|Note|Refreshing|Retrieving|Considering|Found)\b.*|\d+ patch(es)? (needed|optional).*"
)
_COUNT = re.compile(r"^\d+ patch(?:es)? needed \((?P<security>\d+) security patch(?:es)?\)", re.MULTILINE)


def _waiting() -> Waiting:
    pending = len(parse_table(command(*NICE, *ZYPPER, "list-updates", timeout=SLOW), "Name"))
    said = command(*NICE, *ZYPPER, "list-patches", "--category", "security", timeout=SLOW)
    rolling = "tumbleweed" in file("/etc/os-release")
    return Waiting(pending, None if rolling else security_patches(said), "zypper list-updates, list-patches")


def security_patches(said: str) -> int:
    """Count the security patches that are needed. Raises Unreadable unless zypper's own sum is the same."""
    rows = parse_table(said, "Category")
    found = sum(row["Category"] == "security" and row.get("Status", "needed") == "needed" for row in rows)
    told = _COUNT.search(said)
    if found != (int(told["security"]) if told else 0):
        raise Unreadable("zypper list-patches lists another number than it counts")
    return found


def parse_table(said: str, column: str) -> list[dict[str, str]]:
    """Read a table of zypper, cells between bars below a heading that has `column`. Raises Unreadable without one."""
    found: list[dict[str, str]] = []
    heading: list[str] = []
    told = False
    for line in lines(said, "zypper"):
        cells = [cell.strip() for cell in line.split("|")]
        if line.strip() in NOTHING:
            told = True
        elif len(cells) > 2 and column in cells:
            heading, told = cells, True
        elif heading and len(cells) >= len(heading):  # a summary may have bars of its own
            found.append(dict(zip(heading, cells, strict=False)))
        elif not (_RULE.fullmatch(line.strip()) or _REMARK.fullmatch(line)):
            raise Unreadable("zypper gave a line in another form")
    if not told:
        raise Unreadable("zypper said neither what waits nor that nothing does")
    return found


def _automatic() -> bool:
    return any(command("systemctl", "is-enabled", timer, statuses=(0, 1, 4)).strip() == "enabled" for timer in TIMERS)


ZYPPER_MANAGER: Final = Manager(
    program="zypper",
    waiting=_waiting,
    automatic=_automatic,
    lists=("/var/cache/zypp/raw/*/repodata/repomd.xml", "/var/cache/zypp/solv/*/cookie"),
    installed=("/usr/lib/sysimage/rpm/Packages.db", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages.db"),
    settings=("/etc/zypp/repos.d/*", "/etc/zypp/zypp.conf", "/etc/zypp/locks"),
)
