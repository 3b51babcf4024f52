"""Which programs run: the files behind the processes. A process can call itself anything; the file that it runs it cannot choose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.collect.reading import stated, texts
from agent.wire import Fact

FACTS: Final = ("processes.executables",)
PROC: Final = Path("/proc")
DELETED: Final = " (deleted)"
"""proc(5): appended when the file was removed or replaced since."""


def collect(*, now: float) -> dict[str, Fact]:
    """List the files. Raises Unreadable when there are too many."""
    return stated("/proc/*/exe", now, processes__executables=texts(executables().values()))


def executables(proc: Path = PROC) -> dict[int, str]:
    """The file of each process, by its id. Kernel threads have none; other people's need root."""
    found = {}
    for pid in pids(proc):
        try:
            found[pid] = (proc / str(pid) / "exe").readlink().as_posix().removesuffix(DELETED)
        except OSError:
            continue
    return found


def pids(proc: Path = PROC) -> Iterator[int]:
    """The processes that there are now."""
    return (int(name) for name in os.listdir(proc) if name.isdigit())
