"""pacman, of Arch. Its lists say nothing about security: every update counts, and none is known to be one."""

from __future__ import annotations

import re
from typing import Final

from agent.collect.linux.packages import NICE, SLOW, Manager, Waiting, lines
from agent.collect.reading import Unreadable, run

_UPDATE = re.compile(r"(?P<name>[\w@.+-]+) \S+ -> \S+(?P<ignored> \[ignored\])?", re.ASCII)


def _waiting() -> Waiting:
    # pacman(8): -Qu exits with 1 when there is nothing to upgrade
    status, said = run(*NICE, "pacman", "-Qu", timeout=SLOW, statuses=(0, 1))
    pending = parse_pacman(said)
    if (status == 0) != bool(pending):
        raise Unreadable("pacman -Qu named no update and said that there are some")
    return Waiting(pending, None, "pacman -Qu")


def parse_pacman(said: str) -> int:
    """Count the packages of `pacman -Qu`, the ignored ones too. Raises Unreadable."""
    found = [_UPDATE.fullmatch(line.strip()) for line in lines(said, "pacman")]
    if not all(found):
        raise Unreadable("pacman -Qu gave a line that names no update")
    return len(found)


def _automatic() -> bool:
    return False  # Arch has no such thing: updates want a person who reads the news


PACMAN: Final = Manager(
    program="pacman",
    waiting=_waiting,
    automatic=_automatic,
    lists=("/var/lib/pacman/sync/*.db",),
    installed=("/var/lib/pacman/local",),
    settings=("/etc/pacman.conf",),
)
