"""The initiators' latest timestamps in a file, so that a handshake that was captured before a restart is refused after it.

A file of the tunnel's own, and not the control plane: then it also holds for `sallyport-tunnel` alone, and it is read
before the first peer is configured. Every record has its place and is overwritten there, so the file is bounded and never
has to be rewritten. The write is done before the response is sent, without fsync(2): it survives the end of the process,
and after a power failure the last seconds may be missing. A replayed initiation would then get one answer and move
nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Final

from gateway.wireguard.timestamps import MAX_TIMESTAMPS, Timestamps

DEFAULT_FOLDER: Final = Path("/var/lib/sallyport/tunnel")
_RECORD: Final = struct.Struct("<32s12sI")
"""Public key, TAI64N label, CRC-32 of both: a record that was half written is no record."""


class TimestampFile(Timestamps):
    """Timestamps that are written through to an open file. The descriptor is all that it needs, also behind seccomp."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._path = path
        self._places: dict[bytes, int] = {}
        self._free: list[int] = []
        self._read()

    def _read(self) -> None:
        size = min(os.fstat(self._descriptor).st_size, MAX_TIMESTAMPS * _RECORD.size)
        data = os.pread(self._descriptor, size, 0)
        self._end = len(data) // _RECORD.size
        found = []
        for place in range(self._end):
            public_key, timestamp, check = _RECORD.unpack_from(data, place * _RECORD.size)
            if zlib.crc32(public_key + timestamp) == check:
                found.append((timestamp, public_key, place))
            else:
                self._free.append(place)
        for timestamp, public_key, place in sorted(found):  # the oldest is the first to be forgotten
            self._latest[public_key] = timestamp
            self._places[public_key] = place

    def note(self, public_key: bytes, timestamp: bytes) -> None:
        super().note(public_key, timestamp)
        place = self._places.get(public_key)
        if place is None:
            place = self._places[public_key] = self._free.pop() if self._free else self._append()
        record = _RECORD.pack(public_key, timestamp, zlib.crc32(public_key + timestamp))
        with contextlib.suppress(OSError):  # a full disk must not end the tunnel; in memory it holds
            os.pwrite(self._descriptor, record, place * _RECORD.size)

    def close(self) -> None:
        if not self._end:
            with contextlib.suppress(
                OSError
            ):  # nobody ever shook hands: nothing to remember, and no file to leave behind
                self._path.unlink()
        os.close(self._descriptor)

    def _append(self) -> int:
        self._end += 1
        return self._end - 1

    def _forgotten(self, public_key: bytes) -> None:
        super()._forgotten(public_key)
        self._free.append(self._places.pop(public_key))


def kept(interface: str, folder: Path) -> Timestamps:
    """Give the timestamps in `folder`, or such in memory alone with a word about why."""
    path = folder / f"{interface}.timestamps"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        print(f"timestamps of handshakes do not outlive this process: {path}: {error.strerror}", file=sys.stderr)
        return Timestamps()
    return TimestampFile(descriptor, path)
