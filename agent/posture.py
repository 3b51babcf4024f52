"""The latest facts of this machine, and which of them to read again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from agent.collect import SLOW, Collection
from agent.wire import Fact

LIVELY: Final = ("firewall", "antivirus")
"""Collectors that every heartbeat asks again: cheap, and what a watcher missed must not last."""


class Posture:
    """The facts. Slow collectors work in threads of their own and hand in what they found."""

    def __init__(self, collection: Collection, hand_in: Callable[[dict[str, Fact]], None]) -> None:
        """`hand_in` is called by another thread; the main one then calls `update`."""
        self.facts: dict[str, Fact] = {}
        self._collection = collection
        self._hand_in = hand_in
        self._busy: set[str] = set()
        self._again: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether every collector has been heard, the slow ones too."""
        return bool(self.facts) and not self._busy

    def refresh(self, names: Iterable[str]) -> bool:
        """Ask these collectors. Says whether one of their facts has another value now; slow ones hand theirs in later."""
        news = False
        for name in names:
            if name in SLOW:
                self._begin(name)
            elif name in self._collection.names:
                news |= self.update(self._collection.collect(name, now=time.time()))
        return news

    def everything(self) -> bool:
        """Ask all collectors."""
        return self.refresh(self._collection.names)

    def update(self, facts: dict[str, Fact]) -> bool:
        """Take facts. Says whether one of them has another value now."""
        known = {name: (fact.value, fact.absent) for name, fact in self.facts.items()}
        self.facts |= facts
        return any(known.get(name) != (fact.value, fact.absent) for name, fact in facts.items())

    def finished(self, name: str) -> None:
        """A slow collector has handed in; what changed while it worked makes it work once more."""
        self._busy.discard(name)
        if name in self._again:
            self._again.discard(name)
            self._begin(name)

    def _begin(self, name: str) -> None:
        if name in self._busy:
            self._again.add(name)
            return
        self._busy.add(name)

        def work() -> None:
            self._hand_in(self._collection.collect(name, now=time.time()))

        threading.Thread(target=work, name=name, daemon=True).start()
