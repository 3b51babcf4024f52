"""Which operating system this is: the distribution's own version, and the kernel's separately."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, file, stated, text
from agent.wire import Fact

FACTS: Final = (
    "os.family",
    "os.distribution",
    "os.version",
    "os.release",
    "os.edition",
    "os.kernel",
    "os.architecture",
)
RELEASE: Final = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
"""os-release(5): the first that exists counts."""
LONGEST_LINE: Final = 4096


def collect(*, now: float) -> dict[str, Fact]:
    """Read the facts. Raises Unreadable when there is no os-release."""
    path = next((p for p in RELEASE if p.exists()), None)
    if path is None:
        raise Unreadable("there is no os-release file")
    release = parse_os_release(file(path))
    distribution = release.get("ID", "linux")  # os-release(5): the default
    point = _point_release() if distribution == "debian" else None
    return {
        **stated(str(path), now, os__family="linux", os__distribution=text(distribution)),
        **stated(str(path), now, os__version=text(version(release, point))),
        **stated(str(path), now, os__release=text(release.get("VERSION_CODENAME"))),
        **stated(str(path), now, os__edition=text(release.get("VARIANT_ID"))),
        **stated("uname", now, os__kernel=os.uname().release, os__architecture=os.uname().machine),
    }


def parse_os_release(said: str) -> dict[str, str]:
    """Read os-release(5): NAME=value lines in shell quoting. Lines that are none are passed over."""
    found: dict[str, str] = {}
    for line in said.splitlines():
        if len(line) > LONGEST_LINE:
            continue
        name, equals, value = line.strip().partition("=")
        if not equals or not name.replace("_", "").isalnum():
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        found[name] = words[0] if words else ""
    return found


def version(release: dict[str, str], debian_version: str | None) -> str | None:
    """The distribution's version. Debian keeps its point release in another file; rolling releases have none."""
    named = release.get("VERSION_ID") or None
    if named is not None and debian_version is not None and debian_version.split(".")[0] == named:
        return debian_version
    return named


def _point_release() -> str | None:
    try:
        return file("/etc/debian_version").strip()
    except Unreadable:
        return None
