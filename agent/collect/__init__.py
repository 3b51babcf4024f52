"""The facts of this machine, by collector. A collector never fails: what it cannot read is a fact that says why."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.collect import custom, files, local, own
from agent.collect.linux import COLLECTORS, antivirus, patches
from agent.collect.linux import run as run_sealed
from agent.collect.reading import Unreadable, absent
from agent.wire import Fact

SLOW: Final = frozenset({"patches", "custom"})
"""Collectors that take seconds: they run beside the others."""
Collect = Callable[..., dict[str, Fact]]


class Collection:
    """The collectors of one agent, on the platform that it runs on."""

    def __init__(
        self,
        clamd_sockets: Sequence[Path] = antivirus.SOCKETS,
        listed: Path | None = None,
        platform: str = sys.platform,
    ) -> None:
        """`listed` is the list of what this device's administrator adds (`local.py`)."""
        self._platform = "windows" if platform == "win32" else platform
        self._listed = listed or local.LOCATIONS[self._platform]
        found = _linux(clamd_sockets) if self._platform == "linux" else _elsewhere(self._platform)
        self._expected: dict[str, Sequence[str]] = {name: expected for name, (expected, _) in found.items()}
        self._collect: dict[str, Collect] = {name: collect for name, (_, collect) in found.items()}
        if self._platform == "linux":
            self._collect["certificates"] = self._certificates(self._collect["certificates"])
        for name, expected, collect in (
            ("files", files.FACTS, self._files),
            ("custom", (), self._custom),
            ("agent", own.FACTS, own.collect),
        ):
            self._expected[name], self._collect[name] = expected, collect
        self.names = tuple(self._collect)

    @property
    def facts(self) -> frozenset[str]:
        """Every fact that is stated, with a value or without; those that the device's list adds are not among them."""
        return frozenset(name for expected in self._expected.values() for name in expected)

    def collect(self, name: str, *, now: float) -> dict[str, Fact]:
        """Read the facts of one collector. `now` is Unix time in seconds."""
        expected = self._expected[name]
        try:
            return self._collect[name](now=now)
        except Unreadable as error:
            return absent(expected, name, now, str(error))
        except Exception as error:  # a system that we did not foresee must not silence the other collectors
            return absent(expected, name, now, f"the collector failed: {type(error).__name__}: {error}"[:200])

    def quick(self, name: str, *, now: float) -> dict[str, Fact]:
        """What a slow collector can say at once."""
        try:
            return patches.quick(now=now) if name == "patches" else {}
        except Exception:  # the collector itself says why
            return {}

    def everything(self, *, now: float) -> dict[str, Fact]:
        """Read all facts, one collector after the other."""
        return {key: fact for name in self.names for key, fact in self.collect(name, now=now).items()}

    def _certificates(self, collect: Collect) -> Collect:
        return lambda *, now: collect(local.load(self._listed).certificates, now=now)

    def _files(self, *, now: float) -> dict[str, Fact]:
        usual = files.USUAL[self._platform]
        return files.collect((*usual, *local.load(self._listed).files), now=now)

    def _custom(self, *, now: float) -> dict[str, Fact]:
        run = run_sealed if self._platform == "linux" else custom.cannot_run
        return custom.collect(local.load(self._listed).custom, run, now=now)


Found = Mapping[str, tuple[Sequence[str], Collect]]


def _linux(clamd_sockets: Sequence[Path]) -> Found:
    found: dict[str, tuple[Sequence[str], Collect]] = {
        name: (module.FACTS, module.collect) for name, module in COLLECTORS.items()
    }
    return {**found, "antivirus": (antivirus.FACTS, functools.partial(antivirus.collect, clamd_sockets))}


def _elsewhere(platform: str) -> Found:
    """The collectors of macOS or Windows. Only a machine of theirs loads them: on Linux they would be memory for nothing."""
    if platform == "darwin":
        from agent.collect import darwin  # noqa: PLC0415

        return {
            name: (facts, functools.partial(darwin.collect, name)) for name, (facts, _, _) in darwin.SUBJECTS.items()
        }
    from agent.collect import windows  # noqa: PLC0415

    return windows.COLLECTORS
