"""The SHA-256 of files: some that say much about a machine, and those that its own list names."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from agent.collect.reading import stated
from agent.wire import Fact

FACTS: Final = ("files.sha256",)
USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "linux": ("/etc/hosts", "/etc/ld.so.preload", "/etc/ssh/sshd_config", "/etc/sudoers"),
    "darwin": ("/etc/hosts", "/etc/pam.d/sudo", "/etc/ssh/sshd_config", "/etc/sudoers"),
    "windows": (r"C:\Windows\System32\drivers\etc\hosts",),
}
MISSING: Final = "absent"
LARGEST: Final = 256 << 20
PIECE: Final = 1 << 20


def collect(paths: Iterable[str], *, now: float) -> dict[str, Fact]:
    """Hash each; what is not there is said to be absent, what cannot be read says why."""
    return stated("files", now, files__sha256={path: state(path) for path in sorted(set(paths))})


def state(path: str) -> str:
    """The hash in hex, `absent`, or `unreadable: …`."""
    try:
        return digest(path)
    except FileNotFoundError:
        return MISSING
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', None) or error}"[:200]


def digest(path: Path | str) -> str:
    """Hash a regular file. Raises OSError, or ValueError for what is none or too large."""
    with open(
        path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    ) as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        if status.st_size > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        made = hashlib.sha256()
        while piece := opened.read(PIECE):
            made.update(piece)
        return made.hexdigest()
