"""Notices: a thread that has changed a session wakes the event streams of that session, at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gateway.errors import Unavailable

MOST_STREAMS = 4
"""Of one session: an agent needs one, and one more while it changes networks."""


class Notices:
    """Who waits for which session. Thread-safe; carries no data, because the truth is in the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self.closing = False

    def publish(self, sessions: Iterable[str]) -> None:
        """Wake whoever waits for one of these sessions."""
        with self._lock:
            for session in sessions:
                self._wake(self._waiting.get(session, ()))

    def close(self) -> None:
        """Wake everybody for the last time: the streams end, so that the server can."""
        with self._lock:
            self.closing = True
            for waiting in self._waiting.values():
                self._wake(waiting)

    @contextmanager
    def listening(self, session: str) -> Iterator[asyncio.Event]:
        """Give an event that is set on every notice about the session. Raises Unavailable for one stream too many."""
        place = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            places = self._waiting.setdefault(session, [])
            if len(places) >= MOST_STREAMS:
                raise Unavailable("too-many-streams", f"at most {MOST_STREAMS} event streams per session; close one")
            places.append(place)
        try:
            yield place[1]
        finally:
            with self._lock:
                places.remove(place)
                if not places:
                    del self._waiting[session]

    @staticmethod
    def _wake(places: Iterable[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, event in places:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
