"""What other threads tell the main one: events of the session, facts that took long to read."""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
from typing import Any

from agent.client import Gateway
from agent.errors import AgentError, Problem
from agent.schedule import back_off


class Inbox:
    """Items from any thread; a descriptor becomes readable when there are some."""

    def __init__(self) -> None:
        self._items: collections.deque[tuple[str, Any]] = collections.deque()
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def fileno(self) -> int:
        return self._read.fileno()

    def wake_descriptor(self) -> int:
        """For signal.set_wakeup_fd."""
        return self._write.fileno()

    def put(self, kind: str, value: Any) -> None:
        """Leave an item and wake the main thread."""
        self._items.append((kind, value))
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            self._write.send(b"\0")

    def drain(self) -> None:
        """Take the wake-ups away; the items stay for `take`."""
        with contextlib.suppress(BlockingIOError):
            while self._read.recv(4096):
                pass

    def take(self) -> list[tuple[str, Any]]:
        """Take all items, oldest first."""
        taken = []
        while self._items:
            taken.append(self._items.popleft())
        return taken

    def close(self) -> None:
        self._read.close()
        self._write.close()


def follow_events(gateway: Gateway, session: str, inbox: Inbox) -> None:
    """Leave every event of the session in the inbox as (`event`, (session, name, data)), until it has ended.

    `lost` is an event of our own: the stream broke, and the gateway may be gone.
    """

    def follow() -> None:
        failures = 0
        while not gateway.closed:
            try:
                for name, data in gateway.events(session):
                    failures = 0
                    inbox.put("event", (session, name, data))
                    if name == "ended":
                        return
            except Problem as problem:
                if problem.status in (401, 404, 409):
                    inbox.put("event", (session, "ended", {"reason": problem.members.get("reason", problem.code)}))
                    return
            except AgentError:
                pass  # the report that `lost` leads to says why
            if failures == 0:
                inbox.put("event", (session, "lost", {}))
            time.sleep(back_off(failures))
            failures += 1

    threading.Thread(target=follow, name="events", daemon=True).start()
