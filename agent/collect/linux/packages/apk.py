"""apk, of Alpine. Its index says nothing about security."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.collect.linux.packages import NICE, SLOW, Manager, Waiting, lines
from agent.collect.reading import Unreadable, command

HEADING: Final = re.compile(r"Installed:\s+Available:")
CRON: Final = Path("/etc/periodic")
_UPDATE = re.compile(r"\S+-\d\S*\s+<\s+\S+(\s+@\S+)?")


def _waiting() -> Waiting:
    said = command(*NICE, "apk", "--no-network", "version", "-v", "-l", "<", timeout=SLOW)
    return Waiting(parse_apk(said), None, "apk version -l <")


def parse_apk(said: str) -> int:
    """Count the packages of `apk version -v -l '<'`. Raises Unreadable without its heading."""
    heading, *rest = lines(said, "apk") or [""]
    if not HEADING.match(heading):
        raise Unreadable("apk version gave no heading")
    if not all(_UPDATE.fullmatch(line.strip()) for line in rest):
        raise Unreadable("apk version gave a line that names no update")
    return len(rest)


def _automatic() -> bool:
    """Whether a script of the daily jobs runs `apk upgrade`, which is how it is done there."""
    return any(b"apk upgrade" in path.read_bytes()[:65536] for path in CRON.glob("*/*") if path.is_file())


APK: Final = Manager(
    program="apk",
    waiting=_waiting,
    automatic=_automatic,
    lists=("/var/cache/apk/APKINDEX.*.tar.gz", "/etc/apk/cache/APKINDEX.*.tar.gz"),
    installed=("/lib/apk/db/installed", "/usr/lib/apk/db/installed"),
    settings=("/etc/apk/repositories", "/etc/apk/world"),
)
