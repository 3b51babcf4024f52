"""What an update has replaced and what still runs the old of it: the kernel, and programs with deleted libraries."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.collect.linux.processes import pids
from agent.collect.reading import Unreadable, attempt, command

MARKS: Final = (Path("/run/reboot-required"), Path("/run/reboot-needed"))
"""What Debian's and Ubuntu's packages leave, and SUSE's."""
MODULES: Final = Path("/lib/modules")
CORE: Final = ("glibc", "linux-firmware", "systemd", "dbus", "dbus-broker", "openssl-libs", "gnutls")
"""Packages of rpm systems that only a restart makes all processes use (needs-restarting(1))."""
_DELETED = re.compile(rb"^\S+ ..x. .*? (/(?:usr/)?(?:lib|bin|sbin)\S*) \(deleted\)$", re.MULTILINE)
_UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")
_NUMBER = re.compile(r"\d+|[a-z]+")
LARGEST_MAPS: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Restarts:
    """What needs a restart: the system, and these services."""

    reboot: bool
    services: tuple[str, ...]
    source: str


def stale(proc: Path = Path("/proc")) -> frozenset[str]:
    """The units (programs, where there is no unit) that run code of which the file is gone."""
    found = set()
    for pid in pids(proc):
        folder = proc / str(pid)
        try:
            with (folder / "maps").open("rb", buffering=0) as opened:
                maps = opened.read(LARGEST_MAPS)
            if parse_maps(maps):
                program = (folder / "exe").readlink().name.removesuffix(" (deleted)")
                found.add(unit_of((folder / "cgroup").read_text()) or program)
        except OSError:
            continue
    return frozenset(found)


def parse_maps(maps: bytes) -> bool:
    """Whether a process runs code from a file of the system that was deleted or replaced (proc(5), maps)."""
    return _DELETED.search(maps) is not None


def unit_of(cgroup: str) -> str | None:
    """The service in /proc/PID/cgroup; of a user's own services, the manager that they belong to."""
    for line in cgroup.split("\n"):
        found = _UNIT.search(line.split(":", 2)[-1]) if line.count(":") >= 2 else None
        if found:
            return found[1]
    return None


def look(stale_units: Iterable[str], booted_at: float | None) -> Restarts:
    """Ask what there is: the marks of the distribution, needrestart, the installed kernels, rpm."""
    services, reboot, sources = set(stale_units), any(path.exists() for path in MARKS), ["/proc/*/maps"]
    told = attempt(lambda: command("needrestart", "-b", "-r", "l", timeout=60.0))
    if told is not None:
        try:
            kernel, named = parse_needrestart(told)
            services, reboot, sources = services | named, reboot or kernel, ["needrestart", *sources]
        except Unreadable:
            pass  # an old one, or one that broke: the kernel's own word is left
    reboot = reboot or newer_kernel(os.uname().release, _kernels()) or _core_is_newer(booted_at)
    return Restarts(reboot, tuple(sorted(services)), ", ".join(sources))


def parse_needrestart(said: str) -> tuple[bool, set[str]]:
    """Read `needrestart -b`: whether another kernel waits, and the services. Raises Unreadable.

    NEEDRESTART-KSTA: 0 unknown, 1 none waits, 2 a compatible one, 3 a newer version (README.batch.md).
    """
    fields: dict[str, list[str]] = {}
    for line in said.split("\n"):
        name, colon, value = line.partition(": ")
        if colon and name.startswith("NEEDRESTART-"):
            fields.setdefault(name, []).append(value.strip())
    if "NEEDRESTART-VER" not in fields:
        raise Unreadable("needrestart did not answer in its batch form")
    return fields.get("NEEDRESTART-KSTA", ["0"])[0] in ("2", "3"), set(fields.get("NEEDRESTART-SVC", []))


def newer_kernel(running: str, installed: Iterable[str]) -> bool:
    """Whether a newer kernel of the running one's kind is installed, or the running one is not any more.

    Without any installed kernel it comes from outside (a container, a microVM), and no package can replace it.
    """
    kernels = list(installed)
    if not kernels:
        return False
    same = [kernel for kernel in kernels if flavour(kernel) == flavour(running)]
    return running not in kernels or any(order(kernel) > order(running) for kernel in same)


def flavour(release: str) -> str:
    """`amd64` in 6.1.0-28-amd64, `generic` in 6.8.0-49-generic: kernels of one kind replace each other."""
    words = [word for word in re.split(r"[-.]", release) if word and not re.fullmatch(r"\d[\w+]*|fc\d+|el\d+\w*", word)]
    return "-".join(words)


def order(release: str) -> list[tuple[int, str]]:
    """A key that sorts releases as people read them: numbers by size, and a word is less than a number."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBER.findall(release.lower())]


def _kernels(modules: Path = MODULES) -> list[str]:
    """The kernels whose modules are installed whole: what a removed package left behind has no list of them."""
    return [path.parent.name for path in modules.glob("*/modules.dep")]


def _core_is_newer(booted_at: float | None) -> bool:
    said = attempt(lambda: command("rpm", "-q", "--qf", "%{INSTALLTIME} %{NAME}\\n", *CORE, statuses=range(64)))
    return booted_at is not None and said is not None and any(at > booted_at for at in parse_rpm_times(said).values())


def parse_rpm_times(said: str) -> Mapping[str, float]:
    """Read `INSTALLTIME NAME` lines; what is not installed is told in other words."""
    found = re.findall(r"^(\d{9,11}) (\S+)$", said, re.MULTILINE)
    return {name: float(at) for at, name in found}
