"""Antivirus and EDR products other than ClamAV: by the file that a process runs, and by the package that the file is of.

A name proves nothing, so a process counts only when its file belongs to root, nobody else may write it, and the package
database names the product's own package as its owner.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.collect.reading import Unreadable, attempt, command


@dataclass(frozen=True, slots=True)
class Product:
    """One product: the files that its protection runs, and the packages that bring them."""

    name: str
    executables: tuple[str, ...]
    packages: tuple[str, ...]


PRODUCTS: Final = (
    Product("defender", ("/opt/microsoft/mdatp/sbin/wdavdaemon",), ("mdatp",)),
    Product(
        "crowdstrike-falcon",
        ("/opt/CrowdStrike/falcon-sensor", "/opt/CrowdStrike/falcon-sensor-bpf"),
        ("falcon-sensor",),
    ),
    Product("sentinelone", ("/opt/sentinelone/bin/sentinelone-agent",), ("sentinelagent", "sentinelone-agent")),
    Product("sophos", ("/opt/sophos-spl/plugins/av/sbin/sophos_threat_detector_launcher",), ("sophos-spl",)),
    Product("eset", ("/opt/eset/eea/sbin/startd", "/opt/eset/efs/sbin/startd"), ("eea", "efs")),
    Product("bitdefender", ("/opt/bitdefender-security-tools/bin/bdsecd",), ("bitdefender-security-tools",)),
    Product("kaspersky", ("/opt/kaspersky/kesl/libexec/kesl",), ("kesl",)),
    Product("trend-micro", ("/opt/ds_agent/ds_agent",), ("ds-agent", "ds_agent")),
    Product("withsecure", ("/opt/f-secure/linuxsecurity/bin/fsicd",), ("f-secure-linuxsecurity",)),
    Product("cortex-xdr", ("/opt/traps/bin/pmd",), ("cortex-agent",)),
    Product("trellix", ("/opt/McAfee/ens/tp/bin/mfetpd",), ("mcafeetp", "trellixtp")),
)


def running(executables: Iterable[str], trusted: Callable[[Product, str], bool]) -> Product | None:
    """The first known product among the files that processes run, whose file `trusted` accepts."""
    files = set(executables)
    for product in PRODUCTS:
        if any(path in files and trusted(product, path) for path in product.executables):
            return product
    return None


def is_genuine(product: Product, path: str) -> bool:
    """Whether root owns the file, nobody else may write it, and the product's own package brought it."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    said = attempt(lambda: command("dpkg-query", "--search", path)) or attempt(
        lambda: command("rpm", "--query", "--file", path, "--queryformat", "%{NAME}: rpm\\n")
    )
    return said is not None and owner(said) in product.packages


def owner(said: str) -> str | None:
    """The package in `dpkg-query --search` (`mdatp: /opt/…`, `mdatp:amd64: …`) or in rpm's answer of the same form."""
    found = re.match(r"([a-z0-9][a-z0-9+._-]*)(?::[a-z0-9]+)?: ", said)
    return found[1] if found else None


def parse_mdatp(said: str) -> Mapping[str, Any]:
    """Read `mdatp health --output json`: facts by their short names. Raises Unreadable."""
    try:
        members = json.loads(said)
        found = {name: _plain(members[name]) for name in ("healthy", "realTimeProtectionEnabled")}
        texts = {name: _plain(members.get(name)) for name in ("engineVersion", "definitionsVersion")}
        made = _plain(members.get("definitionsUpdated"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("mdatp gave no health in JSON") from None
    if not all(isinstance(value, bool) for value in found.values()):
        raise Unreadable("mdatp gave no health in JSON")
    return {
        "running": found["healthy"],
        "realtime": found["realTimeProtectionEnabled"],
        "engine_version": texts["engineVersion"] if isinstance(texts["engineVersion"], str) else None,
        "signatures_version": texts["definitionsVersion"] if isinstance(texts["definitionsVersion"], str) else None,
        "signatures_at": made / 1000 if type(made) in (int, float) and 0 < made < 4e12 else None,
    }


def _plain(member: Any) -> Any:
    """A setting that can be managed is an object with `value`."""
    value = member.get("value") if isinstance(member, dict) else member
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{10,13}", value) else value


def health() -> str:
    """Ask Defender about itself. Raises Unreadable."""
    return command("/opt/microsoft/mdatp/sbin/wdavdaemonclient", "health", "--output", "json", timeout=10.0)
