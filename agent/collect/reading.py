"""The edge of every collector: files and commands, bounded, in a language and with a search path that nobody chose."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from agent.wire import Fact

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANGUAGE": "C", "HOME": "/nonexistent"}
"""What commands see: a PATH of the user could lie, a translation could not be parsed."""
LARGEST: Final = 10 << 20
"""Bytes of a file or an output; a larger one is not what we asked for."""
PIECE: Final = 1 << 16
"""Bytes of one read: for a file of /proc/sys the kernel sets aside as much as is asked for, or refuses."""


class Unreadable(Exception):
    """A fact cannot be read; the text says why and is what the gateway is told."""


def command(*words: str, timeout: float = 10.0, statuses: Iterable[int] = (0,)) -> str:
    """Run a program to its end and give its output. Raises Unreadable when it is missing, fails or takes too long."""
    return run(*words, timeout=timeout, statuses=statuses)[1]


def run(*words: str, timeout: float, statuses: Iterable[int]) -> tuple[int, str]:
    """Run a program like `command`, for those whose exit status says something too."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=timeout, check=False, cwd="/"
        )
    except FileNotFoundError:
        raise Unreadable(f"{words[0]} is not installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreadable(f"{words[0]}: {error}"[:200]) from None
    if done.returncode not in statuses:
        complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Unreadable(f"{words[0]}: {complaint[-1] if complaint else f'status {done.returncode}'}"[:200])
    return done.returncode, _text(done.stdout, words[0])


def file(path: Path | str) -> str:
    """Read a text file. Raises Unreadable."""
    try:
        data = bytearray()
        with Path(path).open("rb", buffering=0) as opened:
            while len(data) <= LARGEST and (piece := opened.read(PIECE)):
                data += piece
        return _text(bytes(data), str(path))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None


def _text(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise Unreadable(f"{name} says more than {LARGEST} bytes")
    return data.decode("utf-8", "replace")


def stated(source: str, now: float, **values: Any) -> dict[str, Fact]:
    """Facts of one source. Keys are names with `__` for the dot; None means that the source does not say."""
    return {
        name.replace("__", "."): Fact(value, source, now, None if value is not None else f"{source} does not say")
        for name, value in values.items()
    }


def absent(names: Iterable[str], source: str, now: float, reason: str) -> dict[str, Fact]:
    """Facts that could not be read, each with the reason."""
    return {name: Fact(None, source, now, reason) for name in names}
