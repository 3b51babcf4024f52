"""Changes of files and folders, by inotify(7). A file is watched by its folder, so that it may come, go and be replaced."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF = 0x08, 0x40, 0x80, 0x100, 0x200, 0x400
ONLY_CHANGES: Final = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
OVERRUN: Final = 0x4000
"""IN_Q_OVERFLOW: something was not told, so everything may have changed."""
_EVENT = struct.Struct("@iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """Readable when something in the watched folders has changed."""

    def __init__(self, paths: Mapping[str, Iterable[Path]]) -> None:
        """`paths`: which files and folders each collector depends on. Raises OSError when inotify cannot be had."""
        self._descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._watched: dict[int, list[tuple[str, bytes | None]]] = {}
        self.concerns: frozenset[str] = frozenset()
        for collector, each in paths.items():
            for path in each:
                self._add(collector, path)

    def _add(self, collector: str, path: Path) -> None:
        folder, name = (path, None) if path.is_dir() else (path.parent, os.fsencode(path.name))
        watch = _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), ONLY_CHANGES)
        if watch >= 0:  # otherwise the folder does not exist: the heartbeat finds what appears there
            self._watched.setdefault(watch, []).append((collector, name))

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> bool:
        """Take what came. Says whether a watched path changed; `concerns` then names the collectors."""
        found: set[str] = set()
        while True:
            try:
                data = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                break
            offset = 0
            while offset + _EVENT.size <= len(data):
                watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
                name = data[offset + _EVENT.size : offset + _EVENT.size + length].rstrip(b"\0")
                found.update(c for c, wanted in self._watched.get(watch, ()) if wanted in (None, name))
                if mask & OVERRUN:
                    found.update(collector for each in self._watched.values() for collector, _ in each)
                offset += _EVENT.size + length
        self.concerns = frozenset(found)
        return bool(found)

    def close(self) -> None:
        os.close(self._descriptor)
