"""Hosts as network namespaces: made, entered, listed and removed. Knows nothing about what runs in them.

A name carries the process that owns it and when that process started, so that a later run can tell the namespaces of a
run that was killed from those of one that still works, even when the number of the process has been given out again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import HostError

CLONE_NEWNET = 0x40000000
PREFIX = "sallyport"
NAMESPACES = Path("/run/netns")
_OWNED = re.compile(rf"{PREFIX}-(?P<pid>\d+)-(?P<started>\d+)(-|$)")
_libc = ctypes.CDLL(None, use_errno=True)


def owner_mark() -> str:
    """This process as part of a name: `sallyport-<pid>-<start time in clock ticks since boot>`."""
    return f"{PREFIX}-{os.getpid()}-{_started(os.getpid())}"


def is_orphan(name: str) -> bool:
    """Whether `name` was made with an `owner_mark` whose process is gone."""
    owned = _OWNED.match(name)
    return owned is not None and _started(int(owned["pid"])) != owned["started"]


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # proc(5): field 22, counted after the name in brackets


def ip(*arguments: str, namespace: str | None = None) -> str:
    """Run ip(8), in a namespace if one is named. Returns its output; raises HostError with its complaint."""
    within = ("-n", namespace) if namespace else ()
    try:
        done = subprocess.run(["ip", *within, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostError("ip(8) is missing: install iproute2") from None
    if done.returncode:
        raise HostError(f"ip {' '.join((*within, *arguments))}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Host:
    """One network namespace. `role` is what people read, `name` is what ip(8) knows."""

    role: str
    name: str

    @classmethod
    def create(cls, role: str, *, mark: str) -> Host:
        """A new namespace with its loopback up."""
        host = cls(role, f"{mark}-{role}")
        ip("netns", "add", host.name)
        ip("link", "set", "lo", "up", namespace=host.name)
        return host

    def ip(self, *arguments: str) -> str:
        """ip(8) on this host."""
        return ip(*arguments, namespace=self.name)

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs `arguments` on this host, as the same process."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Run a program on this host to its end. Returns its output; raises HostError with its complaint."""
        done = subprocess.run(self.command(*arguments), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HostError(f"on {self.role}: {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the sockets and threads it makes, live on the host inside the `with`."""
        with (
            contextlib.closing(_Handle(Path("/proc/thread-self/ns/net"))) as home,
            contextlib.closing(_Handle(NAMESPACES / self.name)) as there,
        ):
            there.enter()
            try:
                yield
            finally:
                home.enter()

    def remove(self) -> None:
        """Delete the namespace with all its interfaces. Programs that still run in it are killed first."""
        remove(self.name)


class _Handle:
    """An open namespace: it stays reachable when its name goes."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def enter(self) -> None:
        if _libc.setns(self._descriptor, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "setns")

    def close(self) -> None:
        os.close(self._descriptor)


def remove(name: str) -> None:
    """Kill what runs in a namespace of ours and delete it; a name that is gone already is fine."""
    if not (NAMESPACES / name).exists():
        return
    for _ in range(50):
        left = _occupants(name)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    with contextlib.suppress(HostError):
        ip("netns", "delete", name)


def _occupants(name: str) -> Sequence[int]:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [pid for pid in map(int, listed.stdout.split()) if pid != os.getpid()]


def remove_orphans() -> list[str]:
    """Remove the namespaces of earlier runs that were killed before they could. Returns their names."""
    orphans = sorted(p.name for p in NAMESPACES.glob(f"{PREFIX}-*") if is_orphan(p.name))
    for name in orphans:
        remove(name)
    return orphans
