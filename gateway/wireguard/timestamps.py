"""The latest timestamp of every initiator (paper section 5.1): an initiation with no later one is a replay.

They outlive their peers and, where the edge keeps them in a file, the process: what was recorded before a restart gets no
answer after it. Only whoever has a peer's private key can make an entry.
"""

from __future__ import annotations

from typing import Final

MAX_TIMESTAMPS: Final = 131_072
"""Twice the peers of an interface: those that were removed do not push out those that are there."""


class Timestamps:
    """TAI64N labels by public key, in memory. The longest unused is forgotten first."""

    def __init__(self) -> None:
        self._latest: dict[bytes, bytes] = {}

    def latest(self, public_key: bytes) -> bytes:
        """Give the latest timestamp; one that is before all others when there is none."""
        return self._latest.get(public_key, b"")

    def note(self, public_key: bytes, timestamp: bytes) -> None:
        """Keep an authenticated timestamp, before it is answered."""
        self._latest.pop(public_key, None)
        self._latest[public_key] = timestamp
        if len(self._latest) > MAX_TIMESTAMPS:
            self._forgotten(next(iter(self._latest)))

    def close(self) -> None:
        """End it; there is nothing to end in memory."""

    def _forgotten(self, public_key: bytes) -> None:
        del self._latest[public_key]
