"""What makes a fact change now. A watcher is a descriptor that becomes readable, and the collectors that it concerns."""

from __future__ import annotations

import pwd
import selectors
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from agent.collect.linux import antivirus, restart, screen, system
from agent.collect.linux.packages.apt import APT
from agent.collect.reading import Unreadable
from agent.names import RESOLV_CONF
from agent.watch.dbus import SYSTEM_BUS, BusWatch
from agent.watch.files import FileWatch
from agent.watch.netlink import DiskWatch, FirewallWatch, NetworkWatch
from agent.watch.pace import Pace
from agent.watch.process import ProcessWatch

DPKG_STATUS: Final = Path("/var/lib/dpkg/status")
RPM_DATABASE: Final = (Path("/var/lib/rpm/rpmdb.sqlite"), Path("/usr/lib/sysimage/rpm/rpmdb.sqlite"))
SIGNATURES: Final = Path("/var/lib/clamav")
DCONF: Final = (Path("/etc/dconf/db"),)
FIRST_PERSON: Final = 1000
"""User numbers below are the system's (login.defs(5), UID_MIN)."""


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

    def __init__(self, clamd_sockets: Sequence[Path], *, login: Path, bus: Path = SYSTEM_BUS) -> None:
        """`login` is the file that a login on this machine replaces.

        A watcher that this machine cannot have is left out: `missing` names it, and `polled` is what the heartbeat asks
        again in its place.
        """
        self._sockets = clamd_sockets
        self._selector = selectors.DefaultSelector()
        self._process: ProcessWatch | None = None
        self._pace = Pace()
        self.missing: list[str] = []
        self.polled: set[str] = set()
        self._try("nftables", {"firewall"}, FirewallWatch)
        self._try("links and routes", {"network"}, NetworkWatch)
        self._try("disks", {"disk"}, DiskWatch)
        files = {**watched_files(clamd_sockets), "login": [login], "names": [RESOLV_CONF]}
        self._try("files", set(files), lambda: FileWatch(files))
        self._try("system bus", {"screen"}, lambda: BusWatch(bus))
        self.follow_antivirus()

    def _try(self, name: str, concerns: Iterable[str], make: Callable[[], Watch]) -> None:
        try:
            self._register(make())
        except OSError as error:
            self._without(name, concerns, error)

    def _without(self, name: str, concerns: Iterable[str], error: OSError) -> None:
        self.missing.append(f"{name} ({error.strerror or error}): every heartbeat looks instead")
        self.polled |= set(concerns)

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
        """Wait for a change, at most so long. Gives the collectors to ask now; those that rest are given later."""
        rested = self._pace.next()
        if rested is not None:
            seconds = min(seconds, rested - time.monotonic())
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if callable(key.data):
                key.data()
            else:
                self._drain(key.data)
        return self._pace.take(now=time.monotonic())

    def asked(self, name: str, *, took: float) -> None:
        """A collector was asked, and took so long: it rests a while."""
        self._pace.asked(name, took=took, now=time.monotonic())

    def _drain(self, watch: Watch) -> None:
        if watch is self._process:  # it goes on having ended, and is told of once
            self._selector.unregister(watch.fileno())
            watch.close()
            self._process = None
            self._pace.concerns(watch.concerns)
            return
        try:
            if watch.drain():
                self._pace.concerns(watch.concerns)
        except OSError as error:
            self._selector.unregister(watch.fileno())
            watch.close()
            self._without(type(watch).__name__, ("antivirus", "firewall", "screen"), error)

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
        "patches": (DPKG_STATUS, *RPM_DATABASE, *map(Path, (*APT.lists, *APT.installed)), *restart.MARKS),
        "antivirus": (SIGNATURES, *clamd_sockets),
        "screen": (screen.KDE_SYSTEM, *DCONF, *(home / name for home in homes() for name in screen.SETTINGS)),
        "users": (Path("/etc/passwd"), Path("/etc/group"), Path("/etc/sudoers"), Path("/etc/sudoers.d")),
    }


def homes() -> list[Path]:
    """Where people's settings are: the homes of those who may log in."""
    return [Path(each.pw_dir) for each in pwd.getpwall() if each.pw_uid >= FIRST_PERSON and "/home" in each.pw_dir]
