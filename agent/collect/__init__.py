"""The facts of this machine, by collector. A collector never fails: what it cannot read is a fact that says why."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.collect.linux import COLLECTORS, antivirus
from agent.collect.reading import Unreadable, absent, stated
from agent.wire import AGENT_VERSION, Fact

SLOW: Final = frozenset({"patches"})
"""Collectors that take seconds: they run beside the others."""


class Collection:
    """The collectors of one agent."""

    def __init__(self, clamd_sockets: Sequence[Path] = antivirus.SOCKETS) -> None:
        self._collect: dict[str, Callable[..., dict[str, Fact]]] = {
            name: module.collect for name, module in COLLECTORS.items()
        }
        self._collect["antivirus"] = functools.partial(antivirus.collect, clamd_sockets)
        self._expected: Mapping[str, Sequence[str]] = {name: module.FACTS for name, module in COLLECTORS.items()}
        self.names = (*self._collect, "agent")

    @property
    def facts(self) -> frozenset[str]:
        """Every fact that is stated, with a value or without."""
        return frozenset(name for expected in self._expected.values() for name in expected) | {"agent.version"}

    def collect(self, name: str, *, now: float) -> dict[str, Fact]:
        """Read the facts of one collector. `now` is Unix time in seconds."""
        if name == "agent":
            return stated("sallyport-agent", now, agent__version=AGENT_VERSION)
        expected = self._expected[name]
        try:
            return self._collect[name](now=now)
        except Unreadable as error:
            return absent(expected, name, now, str(error))
        except Exception as error:  # a system that we did not foresee must not silence the other collectors
            return absent(expected, name, now, f"the collector failed: {type(error).__name__}: {error}"[:200])

    def everything(self, *, now: float) -> dict[str, Fact]:
        """Read all facts, one collector after the other."""
        return {key: fact for name in self.names for key, fact in self.collect(name, now=now).items()}
