"""The agent about itself: version, a digest of its files, and whether they are what was installed.

This finds a damaged or patched installation. Somebody who replaces the whole agent also replaces this file: `agent.digest`
is for a policy that lists the digests of releases, and a proof would need attested hardware.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, absent, stated
from agent.wire import AGENT_VERSION, Fact

FACTS: Final = ("agent.version", "agent.digest", "agent.integrity")
PACKAGE: Final = Path(__file__).parents[1]
DISTRIBUTION: Final = "sallyport"


def collect(*, now: float, package: Path = PACKAGE) -> dict[str, Fact]:
    """Hash our files, and compare them with the list that came with them (RECORD of the wheel)."""
    hashes = hash_files(package)
    facts = stated("sallyport-agent", now, agent__version=AGENT_VERSION)
    facts |= stated(str(package), now, agent__digest=digest(hashes))
    try:
        return {**facts, **stated("RECORD", now, agent__integrity=hashes == _recorded(package))}
    except Unreadable as error:
        return {**facts, **absent(("agent.integrity",), "RECORD", now, str(error))}


def hash_files(package: Path) -> dict[str, str]:
    """SHA-256 (hex) of all files of the package, by their place in it; compiled copies are left out."""
    paths = (path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def digest(hashes: Mapping[str, str]) -> str:
    """One hash over all of them: equal for equal installations."""
    return hashlib.sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()


def _recorded(package: Path) -> dict[str, str]:
    try:
        listed = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        raise Unreadable("nothing says what was installed") from None
    prefix = package.name + "/"
    found = {
        each.as_posix().removeprefix(prefix): base64.urlsafe_b64decode(each.hash.value + "=").hex()
        for each in listed
        if each.as_posix().startswith(prefix) and each.hash and each.hash.mode == "sha256" and each.suffix != ".pyc"
    }
    if not found:
        raise Unreadable("the agent runs from a working copy, not from an installation")
    return found
