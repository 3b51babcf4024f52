"""What this device's own administrator adds: files to hash, certificates to show, facts of the organisation's own.

The list lies on the device and nowhere else. A gateway can accept or refuse what comes of it; it can name no file to read
and no program to run. The list must belong to root (or to whom the agent runs as), and nobody else may write it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.catalogue import CUSTOM
from agent.collect.reading import Unreadable, content

LOCATIONS: Final = {
    "linux": Path("/etc/sallyport-agent/facts.toml"),
    "darwin": Path("/Library/Application Support/Sallyport/facts.toml"),
    "windows": Path(r"C:\ProgramData\Sallyport\facts.toml"),
}
LARGEST: Final = 1 << 16
MOST: Final = 50
LONGEST_PATIENCE: Final = 60.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Custom:
    """A fact of the organisation's own: what a program says, or what a file holds. `sha256` is that of the program or file."""

    path: Path
    sha256: str
    run: bool = False
    user: str = "nobody"
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Local:
    """The list; an empty one where there is no file."""

    files: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    custom: Mapping[str, Custom] = field(default_factory=dict)


def load(path: Path) -> Local:
    """Read the list of this device. Raises Unreadable that names what is wrong."""
    if not path.exists():
        return Local()
    check_owner(path)
    return parse_local(content(path, largest=LARGEST).decode("utf-8", "replace"))


def check_owner(path: Path) -> None:
    """Refuse what somebody else could have written. Raises Unreadable."""
    try:
        status = path.stat()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    if os.name == "posix" and (
        status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise Unreadable(f"{path} may be written by others than root")


def parse_local(text: str) -> Local:
    """Read the list. Raises Unreadable that names the key and what is allowed."""
    try:
        members = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Unreadable(f"facts.toml: {error}"[:200]) from None
    if unknown := set(members) - {"files", "certificates", "custom"}:
        raise Unreadable(f"facts.toml: {min(unknown)!r} is no key; allowed are files, certificates, custom"[:200])
    custom = members.get("custom", {})
    if not isinstance(custom, dict) or len(custom) > MOST:
        raise Unreadable(f"facts.toml: custom must be a table of at most {MOST}")
    return Local(
        _paths(members, "files"),
        _paths(members, "certificates"),
        {name: _custom(name, custom[name]) for name in custom},
    )


def _paths(members: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = members.get(key, [])
    sound = isinstance(found, list) and len(found) <= MOST and all(isinstance(each, str) for each in found)
    if not sound or not all(_absolute(each) for each in found):
        raise Unreadable(f"facts.toml: {key} must be a list of at most {MOST} absolute paths")
    return tuple(found)


def _absolute(text: str) -> bool:
    return len(text) <= 200 and (text.startswith("/") or re.match(r"[A-Za-z]:\\", text) is not None)


def _custom(name: str, members: object) -> Custom:
    if not CUSTOM.fullmatch(f"custom.{name}"):
        raise Unreadable(f"facts.toml: custom.{name}: a name has small letters, digits and dashes, at most 40"[:200])
    keys = {"path": str, "sha256": str, "run": bool, "user": str, "timeout": (int, float)}
    if not isinstance(members, dict) or set(members) - set(keys) or not {"path", "sha256"} <= set(members):
        raise Unreadable(f"facts.toml: custom.{name} has path and sha256, and may have run, user, timeout")
    for key, kind in keys.items():
        value = members.get(key)
        if key in members and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):  # type: ignore[arg-type]
            raise Unreadable(f"facts.toml: custom.{name}.{key} is of the wrong type")
    made = Custom(**{**members, "path": Path(members["path"]), "sha256": members["sha256"].lower()})
    if not _absolute(members["path"]) or not _SHA256.fullmatch(made.sha256):
        raise Unreadable(f"facts.toml: custom.{name} needs an absolute path, and sha256 in 64 hex digits")
    if not 0 < made.timeout <= LONGEST_PATIENCE:
        raise Unreadable(
            f"facts.toml: custom.{name}.timeout must be more than 0 and at most {LONGEST_PATIENCE:g} seconds"
        )
    return made
