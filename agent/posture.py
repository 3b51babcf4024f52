"""The latest facts of this machine, and which of them to read again."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from agent.collect import SLOW, Collection
from agent.wire import Fact

LIVELY: Final = ("firewall", "antivirus")
"""Collectors that every heartbeat asks again: cheap, and what a watcher missed must not last."""
GIVES_WAY: Final = 10
"""The nice(1) value of slow collectors."""


class Posture:
    """The facts. Slow collectors work in threads of their own and hand in what they found."""

    def __init__(self, collection: Collection, hand_in: Callable[[str, dict[str, Fact]], None]) -> None:
        """`hand_in` is called by another thread, with the collector and its facts; the main one then calls `finished`."""
        self._found: dict[str, dict[str, Fact]] = {}
        self._collection = collection
        self._hand_in = hand_in
        self._busy: set[str] = set()
        self._again: set[str] = set()

    @property
    def facts(self) -> dict[str, Fact]:
        """What is known now."""
        return {name: fact for found in self._found.values() for name, fact in found.items()}

    @property
    def complete(self) -> bool:
        """Whether every collector has been heard, the slow ones too."""
        return bool(self._found) and not self._busy

    def refresh(self, names: Iterable[str]) -> bool:
        """Ask these collectors. Says whether one of their facts has another value now; slow ones hand theirs in later."""
        news = False
        for name in names:
            if name in SLOW:
                news |= self._at_once(name)
                self._begin(name)
            elif name in self._collection.names:
                news |= self._take(name, self._collection.collect(name, now=time.time()))
        return news

    def _at_once(self, name: str) -> bool:
        """What a slow collector can say before it has worked, beside what it has stated before."""
        known = self._found.get(name)
        return known is not None and self._take(name, {**known, **self._collection.quick(name, now=time.time())})

    def everything(self) -> bool:
        """Ask all collectors."""
        return self.refresh(self._collection.names)

    def finished(self, name: str, facts: dict[str, Fact]) -> bool:
        """Take what a slow collector handed in; what changed while it worked makes it work once more. Says as `refresh`."""
        news = self._take(name, facts)
        self._busy.discard(name)
        if name in self._again:
            self._again.discard(name)
            self._begin(name)
        return news

    def _take(self, name: str, facts: dict[str, Fact]) -> bool:
        """What a collector states now takes the place of all that it has stated before."""
        known = self._found.get(name, {})
        self._found[name] = facts
        return _values(known) != _values(facts)

    def _begin(self, name: str) -> None:
        if name in self._busy:
            self._again.add(name)
            return
        self._busy.add(name)

        def work() -> None:
            with contextlib.suppress(OSError):  # this thread and what it starts give way to whoever works here
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVES_WAY)
            self._hand_in(name, self._collection.collect(name, now=time.time()))

        threading.Thread(target=work, name=name, daemon=True).start()


def _values(facts: dict[str, Fact]) -> dict[str, tuple[Any, str | None]]:
    return {name: (fact.value, fact.absent) for name, fact in facts.items()}
