"""Watch mode: again whenever a file has changed. It looks twice a second, which works on every file system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

EVERY_SECONDS = 0.5

State = dict[Path, tuple[int, int]]


def repeated(run: Callable[[], int], folders: Callable[[], list[Path]]) -> int:
    """Run, and run again after every change, until somebody interrupts."""
    for _ in _changes(folders):
        status = run()
        print(f"-- {'ok' if status == 0 else 'not ok'}, waiting for a change; Ctrl-C ends", flush=True)
    return 0


def _changes(folders: Callable[[], list[Path]]) -> Iterator[None]:
    known: State | None = None
    while True:
        found = _state(folders())
        if found != known:
            known = found
            yield
            sys.stdout.flush()
        time.sleep(EVERY_SECONDS)


def _state(folders: list[Path]) -> State:
    files = (file for folder in folders for file in ([folder] if folder.is_file() else folder.rglob("*.yaml")))
    found: State = {}
    for file in files:
        try:
            seen = file.stat()
        except OSError:  # it has just gone: a change like any other
            continue
        found[file] = (seen.st_mtime_ns, seen.st_size)
    return found
