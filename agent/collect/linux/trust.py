"""Certificates: those of this device, and the authorities that somebody added to the distribution's own.

An added authority can read what this machine encrypts: a proxy that inspects, or an attacker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from agent.collect.certificates import described, ordered
from agent.collect.reading import Unreadable, absent, content, stated
from agent.wire import Fact

FACTS: Final = ("certificates.device", "certificates.extra_roots")
ANCHORS: Final = (
    Path("/usr/local/share/ca-certificates"),  # Debian, Ubuntu, Alpine
    Path("/etc/pki/ca-trust/source/anchors"),  # Fedora, Red Hat
    Path("/etc/pki/trust/anchors"),  # openSUSE
    Path("/etc/ca-certificates/trust-source/anchors"),  # Arch
)
SHIPPED: Final = Path("/usr/share/ca-certificates")
BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where the bundle is made from files of SHIPPED, whatever else it holds was added: Debian, Ubuntu, Alpine."""
LARGEST: Final = 4 << 20
MOST_FILES: Final = 500
_BODY = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def collect(device: Iterable[str] = (), *, now: float) -> dict[str, Fact]:
    """Describe the files that this device's list names, and what was added to the trusted authorities."""
    return {**_device(list(device), now), **_extra(now)}


def _device(paths: list[str], now: float) -> dict[str, Fact]:
    if not paths:
        return absent(FACTS[:1], "facts.toml", now, "this device's list names no certificate")
    try:
        found = [each for path in paths for each in described(content(path, largest=LARGEST))]
        return stated(", ".join(paths), now, certificates__device=ordered(found))
    except Unreadable as error:
        return absent(FACTS[:1], ", ".join(paths)[:200], now, str(error))


def _extra(now: float) -> dict[str, Fact]:
    try:
        return stated("trust anchors", now, certificates__extra_roots=ordered(extra_roots()))
    except Unreadable as error:
        return absent(FACTS[1:], "trust anchors", now, str(error))


def extra_roots(
    anchors: Iterable[Path] = ANCHORS, shipped: Path = SHIPPED, bundle: Path = BUNDLE
) -> list[dict[str, Any]]:
    """The authorities in the folders for additions, and those in the bundle that no package brought. Raises Unreadable."""
    found = [
        each for folder in anchors for path in _files(folder) for each in described(content(path, largest=LARGEST))
    ]
    if shipped.is_dir() and bundle.exists():
        known = {body for path in _files(shipped) for body in bodies(content(path, largest=LARGEST))}
        added = bodies(content(bundle, largest=LARGEST)) - known
        found += [each for body in sorted(added) for each in described(_pem(body))]
    return found


def bodies(data: bytes) -> set[bytes]:
    """The certificates of a PEM file as text without white space: enough to compare, and cheap."""
    return {b"".join(body.split()) for body in _BODY.findall(data)}


def _pem(body: bytes) -> bytes:
    rows = b"\n".join(body[place : place + 64] for place in range(0, len(body), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + rows + b"\n-----END CERTIFICATE-----\n"


def _files(folder: Path) -> Iterator[Path]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README"]
    if len(found) > MOST_FILES:
        raise Unreadable(f"{folder} has {len(found)} files, and {MOST_FILES} are looked at")
    return iter(found)
