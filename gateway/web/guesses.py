"""How often codes may be guessed: a little from one address, and not much more from all of them together. Pure.

Only wrong codes count, at most MOST of them, so that no address needs to be forgotten to make room.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from gateway.errors import Unavailable

WINDOW = timedelta(minutes=1)
MOST_FROM_ONE = 10
MOST = 300


class Guesses:
    """The wrong guesses of the last minute. Thread-safe."""

    def __init__(self) -> None:
        self._all: deque[tuple[datetime, str]] = deque()
        self._from: dict[str, int] = {}
        self._lock = threading.Lock()

    def check(self, address: str, *, now: datetime) -> None:
        """Raise Unavailable when no more guesses are taken from this address now."""
        with self._lock:
            self._forget(now)
            source = _source(address)
            if self._from.get(source, 0) >= MOST_FROM_ONE or len(self._all) >= MOST:
                raise Unavailable("too-many-codes", "too many wrong codes were typed; wait a minute")

    def wrong(self, address: str, *, now: datetime) -> None:
        """Count a wrong guess."""
        source = _source(address)
        with self._lock:
            self._all.append((now, source))
            self._from[source] = self._from.get(source, 0) + 1

    def _forget(self, now: datetime) -> None:
        while self._all and not timedelta() <= now - self._all[0][0] < WINDOW:
            _, source = self._all.popleft()
            self._from[source] -= 1
            if not self._from[source]:
                del self._from[source]


def _source(address: str) -> str:
    """One IPv4 address, or the /64 that one IPv6 host can choose from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    return str(parsed) if parsed.version == 4 else str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
