"""Every fact that a report or the gateway can state: its name, the kind of its value, and on which systems there is one.

Pure data, shared by the agent that reads, the gateway that judges and docs/facts.md that explains. A fact that is named
here and was not stated counts as missing; one that is not named here is kept and judged by nothing.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class Kind(enum.StrEnum):
    """What the value of a fact is, in JSON."""

    TEXT = "text"
    """A string of 1 to LONGEST_TEXT printable characters."""
    FLAG = "flag"
    """true or false."""
    COUNT = "count"
    """A whole number, not negative."""
    SECONDS = "seconds"
    """A span of time: a number, negative where the meaning says so."""
    TIME = "time"
    """An instant: Unix time in seconds."""
    TEXTS = "texts"
    """A sorted list of different texts, at most MOST_TEXTS; an empty one says that there are none."""
    MAP = "map"
    """An object from text to text, at most MOST_TEXTS."""
    CERTIFICATES = "certificates"
    """A list of objects, each with `subject`, `issuer`, `sha256` (hex, of the DER), `not_before`, `not_after` (times)."""


LONGEST_TEXT: Final = 200
MOST_TEXTS: Final = 1000

EVERYWHERE: Final = ("linux", "darwin", "windows")
LINUX: Final = ("linux",)


@dataclass(frozen=True, slots=True)
class Described:
    """One line of the catalogue. `platforms`: where an agent can state it; none: the gateway states it itself."""

    kind: Kind
    platforms: tuple[str, ...] = EVERYWHERE


CATALOGUE: Final[dict[str, Described]] = {
    "os.family": Described(Kind.TEXT),
    "os.distribution": Described(Kind.TEXT),
    "os.version": Described(Kind.TEXT),
    "os.release": Described(Kind.TEXT, ("linux", "windows")),
    "os.edition": Described(Kind.TEXT, ("linux", "windows")),
    "os.build": Described(Kind.TEXT, ("darwin", "windows")),
    "os.kernel": Described(Kind.TEXT),
    "os.architecture": Described(Kind.TEXT),
    "os.support_ends_at": Described(Kind.TIME, ()),
    "device.hostname": Described(Kind.TEXT),
    "device.serial": Described(Kind.TEXT),
    "device.uuid": Described(Kind.TEXT),
    "device.vendor": Described(Kind.TEXT),
    "device.model": Described(Kind.TEXT),
    "device.virtual": Described(Kind.TEXT),
    "device.container": Described(Kind.TEXT, LINUX),
    "device.booted_at": Described(Kind.TIME),
    "patches.pending": Described(Kind.COUNT),
    "patches.security_pending": Described(Kind.COUNT),
    "patches.lists_updated_at": Described(Kind.TIME),
    "patches.installed_at": Described(Kind.TIME),
    "patches.reboot_required": Described(Kind.FLAG, ("linux", "windows")),
    "patches.services_to_restart": Described(Kind.TEXTS, LINUX),
    "patches.automatic": Described(Kind.FLAG),
    "antivirus.product": Described(Kind.TEXT),
    "antivirus.running": Described(Kind.FLAG),
    "antivirus.realtime": Described(Kind.FLAG),
    "antivirus.engine_version": Described(Kind.TEXT),
    "antivirus.signatures_version": Described(Kind.TEXT),
    "antivirus.signatures_at": Described(Kind.TIME),
    "firewall.product": Described(Kind.TEXT),
    "firewall.enabled": Described(Kind.FLAG),
    "firewall.input_policy": Described(Kind.TEXT),
    "disk.root_encrypted": Described(Kind.FLAG),
    "disk.home_encrypted": Described(Kind.FLAG),
    "disk.swap_encrypted": Described(Kind.FLAG),
    "disk.chain": Described(Kind.TEXT),
    "boot.firmware": Described(Kind.TEXT),
    "boot.secure_boot": Described(Kind.FLAG),
    "boot.lockdown": Described(Kind.TEXT, LINUX),
    "boot.integrity_protection": Described(Kind.FLAG, ("darwin", "windows")),
    "boot.tpm_present": Described(Kind.FLAG),
    "boot.tpm_version": Described(Kind.TEXT, ("linux", "windows")),
    "screen.lock_enabled": Described(Kind.FLAG),
    "screen.lock_delay": Described(Kind.SECONDS),
    "users.administrators": Described(Kind.TEXTS),
    "users.without_password": Described(Kind.TEXTS, ("linux", "darwin")),
    "domain.joined": Described(Kind.FLAG),
    "domain.kind": Described(Kind.TEXT),
    "domain.name": Described(Kind.TEXT),
    "domain.mdm_enrolled": Described(Kind.FLAG, ("darwin", "windows")),
    "processes.executables": Described(Kind.TEXTS),
    "files.sha256": Described(Kind.MAP),
    "certificates.device": Described(Kind.CERTIFICATES),
    "certificates.extra_roots": Described(Kind.CERTIFICATES),
    "network.listening": Described(Kind.TEXTS),
    "network.listening_programs": Described(Kind.MAP),
    "network.gateways": Described(Kind.TEXTS),
    "network.dns_servers": Described(Kind.TEXTS),
    "network.captive_portal": Described(Kind.FLAG, LINUX),
    "agent.version": Described(Kind.TEXT),
    "agent.digest": Described(Kind.TEXT),
    "agent.integrity": Described(Kind.FLAG),
    "tpm.attested": Described(Kind.FLAG, ()),
    "tpm.pcrs": Described(Kind.MAP, ()),
    "mdm.product": Described(Kind.TEXT, ()),
    "mdm.enrolled": Described(Kind.FLAG, ()),
    "mdm.seen_at": Described(Kind.TIME, ()),
    "mdm.compliant": Described(Kind.FLAG, ()),
    "mdm.failing_policies": Described(Kind.TEXTS, ()),
    "mdm.disk_encrypted": Described(Kind.FLAG, ()),
    "mdm.os_version": Described(Kind.TEXT, ()),
    "edr.product": Described(Kind.TEXT, ()),
    "edr.running": Described(Kind.FLAG, ()),
    "edr.seen_at": Described(Kind.TIME, ()),
    "edr.threats": Described(Kind.COUNT, ()),
    "seen.address": Described(Kind.TEXT, ()),
    "seen.os_family": Described(Kind.TEXT, ()),
    "seen.clock_skew": Described(Kind.SECONDS, ()),
    "seen.updates_at": Described(Kind.TIME, ()),
    "seen.contradictions": Described(Kind.TEXTS, ()),
}

CUSTOM: Final = re.compile(r"custom\.[a-z][a-z0-9-]{0,39}", re.ASCII)
"""Names of facts that an organisation adds: an object with `value` (text, flag or number) and `sha256` (hex)."""
