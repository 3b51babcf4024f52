"""The edge of every collector: files and commands, bounded, in a language and with a search path that nobody chose."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from agent.catalogue import LONGEST_TEXT, MOST_TEXTS
from agent.wire import Fact

T = TypeVar("T")

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANGUAGE": "C", "HOME": "/nonexistent"}
"""What commands see: a PATH of the user could lie, a translation could not be parsed."""
LARGEST: Final = 10 << 20
"""Bytes of a file or an output; a larger one is not what we asked for."""
PIECE: Final = 1 << 16
"""Bytes of one read: for a file of /proc/sys the kernel sets aside as much as is asked for, or refuses."""


class Unreadable(Exception):
    """A fact cannot be read; the text says why and is what the gateway is told."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody whose settings only their own programs can read."""

    name: str
    uid: int
    gid: int
    home: str

    @property
    def environment(self) -> dict[str, str]:
        """What their programs see: their home and their session bus."""
        runtime = f"/run/user/{self.uid}"
        bus = f"unix:path={runtime}/bus"
        return {**ENVIRONMENT, "HOME": self.home, "XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": bus}


def command(*words: str, timeout: float = 10.0, statuses: Iterable[int] = (0,), account: Account | None = None) -> str:
    """Run a program to its end and give its output. Raises Unreadable when it is missing, fails or takes too long."""
    return run(*words, timeout=timeout, statuses=statuses, account=account)[1]


def run(*words: str, timeout: float, statuses: Iterable[int], account: Account | None = None) -> tuple[int, str]:
    """Run a program like `command`, for those whose exit status says something too. `account`: as them, and not as root."""
    environment = account.environment if account else ENVIRONMENT
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=timeout,
            check=False,
            cwd="/",
            **_as(account),
        )
    except FileNotFoundError:
        raise Unreadable(f"{words[0]} is not installed") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise Unreadable(f"{words[0]}: {error}"[:200]) from None
    if done.returncode not in statuses:
        complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Unreadable(f"{words[0]}: {complaint[-1] if complaint else f'status {done.returncode}'}"[:200])
    return done.returncode, _text(done.stdout, words[0])


def _as(account: Account | None) -> dict[str, Any]:
    if account is None or account.uid == os.geteuid():
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def file(path: Path | str, *, largest: int = LARGEST) -> str:
    """Read a text file. Raises Unreadable."""
    return content(path, largest=largest).decode("utf-8", "replace")


def content(path: Path | str, *, largest: int = LARGEST) -> bytes:
    """Read a file, a regular one: what a user put in its place, a pipe say, could hold the reader for ever."""
    try:
        data = bytearray()
        with open(path, "rb", buffering=0, opener=_unblocked) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise Unreadable(f"{path} is no regular file")
            while len(data) <= largest and (piece := opened.read(PIECE)):
                data += piece
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    if len(data) > largest:
        raise Unreadable(f"{path} has more than {largest} bytes")
    return bytes(data)


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _text(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise Unreadable(f"{name} says more than {LARGEST} bytes")
    return data.decode("utf-8", "replace")


def attempt(look: Callable[[], T]) -> T | None:
    """What `look` gives, or None when it cannot be read."""
    try:
        return look()
    except Unreadable:
        return None


def text(value: str | None) -> str | None:
    """A value as facts of the kind text are: printable, of a length that anybody meant. None when nothing is left."""
    plain = "".join(c if c.isprintable() else " " for c in (value or "")[:LONGEST_TEXT]).strip()
    return plain or None


def texts(found: Iterable[str]) -> list[str]:
    """A value of the kind texts: sorted, each once. Raises Unreadable when there are too many to report."""
    unique = sorted({plain for value in found if (plain := text(value)) is not None})
    if len(unique) > MOST_TEXTS:
        raise Unreadable(f"there are {len(unique)}, and {MOST_TEXTS} can be reported")
    return unique


def stated(source: str, now: float, **values: Any) -> dict[str, Fact]:
    """Facts of one source. Keys are names with `__` for the dot; None means that the source does not say."""
    return {
        name.replace("__", "."): Fact(value, source, now, None if value is not None else f"{source} does not say")
        for name, value in values.items()
    }


def absent(names: Iterable[str], source: str, now: float, reason: str) -> dict[str, Fact]:
    """Facts that could not be read, each with the reason."""
    return {name: Fact(None, source, now, reason) for name in names}
