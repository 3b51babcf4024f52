"""What makes a fact change now. A watcher is a descriptor that becomes readable, and the collectors that it concerns."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from agent.collect.linux import antivirus, system
from agent.collect.linux.packages.apt import APT
from agent.collect.reading import Unreadable
from agent.names import RESOLV_CONF
from agent.watch.files import FileWatch
from agent.watch.netfilter import FirewallWatch
from agent.watch.process import ProcessWatch

DPKG_STATUS: Final = Path("/var/lib/dpkg/status")
RPM_DATABASE: Final = (Path("/var/lib/rpm/rpmdb.sqlite"), Path("/usr/lib/sysimage/rpm/rpmdb.sqlite"))
SIGNATURES: Final = Path("/var/lib/clamav")


class Watch(Protocol):
    """Something that tells of changes."""

    @property
    def concerns(self) -> frozenset[str]:
        """The collectors to ask again."""

    def fileno(self) -> int: ...
    def drain(self) -> bool: ...
    def close(self) -> None: ...


class Watches:
    """All watchers of one agent, waited for together."""

    def __init__(self, clamd_sockets: Sequence[Path], *, login: Path) -> None:
        """`login` is the file that a login on this machine replaces.

        A watcher that this machine cannot have is left out: `missing` names it, and the heartbeat polls instead.
        """
        self._sockets = clamd_sockets
        self._selector = selectors.DefaultSelector()
        self._process: ProcessWatch | None = None
        self.missing: list[str] = []
        self._try("nftables", FirewallWatch)
        self._try(
            "files", lambda: FileWatch({**watched_files(clamd_sockets), "login": [login], "names": [RESOLV_CONF]})
        )
        self.follow_antivirus()

    def _try(self, name: str, make: Callable[[], Watch]) -> None:
        try:
            self._register(make())
        except OSError as error:
            self.missing.append(f"{name} ({error.strerror or error})")

    def _register(self, watch: Watch) -> None:
        self._selector.register(watch.fileno(), selectors.EVENT_READ, watch)

    def follow_antivirus(self) -> None:
        """Watch the antivirus process that runs now; call it after the antivirus was collected."""
        pid = self._antivirus_process()
        if self._process is not None and self._process.pid != pid:
            self._selector.unregister(self._process.fileno())
            self._process.close()
            self._process = None
        if self._process is None and pid is not None:
            try:
                self._process = ProcessWatch(pid)
            except OSError:
                return  # it ended in this moment: the next collection says so
            self._register(self._process)

    def _antivirus_process(self) -> int | None:
        for path in self._sockets:
            try:
                return antivirus.process(path)
            except Unreadable:
                continue
        return None

    def add(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Also wait for `descriptor`, and call `ready` when it is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, ready)

    def wait(self, seconds: float) -> frozenset[str]:
        """Wait for a change, at most so long. Gives the collectors to ask again."""
        changed: set[str] = set()
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if callable(key.data):
                key.data()
            elif key.data.drain():
                changed |= key.data.concerns
        return frozenset(changed)

    def close(self) -> None:
        """Close every watcher."""
        for key in list(self._selector.get_map().values()):
            if not callable(key.data):
                key.data.close()
        self._selector.close()


def watched_files(clamd_sockets: Sequence[Path]) -> Mapping[str, Sequence[Path]]:
    """Which files and folders each collector depends on."""
    return {
        "system": system.RELEASE,
        "patches": (DPKG_STATUS, *RPM_DATABASE, *map(Path, APT.lists)),
        "antivirus": (SIGNATURES, *clamd_sockets),
    }
