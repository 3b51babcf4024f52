"""macOS, asked through its own commands; each answer is read by a pure function.

Nothing in this package was ever run on macOS. The commands and their answers are documented or widely published; the readers
are tested on answers composed after them.
"""

from __future__ import annotations

import ipaddress
import plistlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agent.collect.reading import Unreadable, text, texts

Values = dict[str, Any]
PRODUCTS: Final[Mapping[str, str]] = {
    "com.crowdstrike.falcon.Agent": "crowdstrike-falcon",
    "com.sentinelone.sentineld": "sentinelone",
    "com.microsoft.wdav.epsext": "defender",
    "com.sophos.endpoint.scanextension": "sophos",
    "com.eset.endpoint": "eset",
    "com.jamf.protect.security-extension": "jamf-protect",
}
"""System extensions that scan: macOS itself checked who signed them before it let them start."""


def read_version(said: str) -> Values:
    """Read `sw_vers`. Raises Unreadable."""
    fields = dict(re.findall(r"^(\w+):\s+(\S.*)$", said, re.MULTILINE))
    if fields.get("ProductName") != "macOS" or not re.fullmatch(r"\d+(\.\d+)*", fields.get("ProductVersion", "")):
        raise Unreadable("sw_vers names no version of macOS")
    return {
        "os.family": "darwin",
        "os.distribution": "macos",
        "os.version": fields["ProductVersion"],
        "os.build": text(fields.get("BuildVersion")),
    }


def read_hardware(said: str) -> Values:
    """Read `ioreg -rd1 -c IOPlatformExpertDevice`. Raises Unreadable."""
    fields = dict(re.findall(r'^\s*"([\w-]+)" = <?"([^"]*)"', said, re.MULTILINE))
    if "IOPlatformUUID" not in fields:
        raise Unreadable("ioreg names no machine")
    return {
        "device.serial": text(fields.get("IOPlatformSerialNumber")),
        "device.uuid": text(fields["IOPlatformUUID"].lower()),
        "device.vendor": text(fields.get("manufacturer")),
        "device.model": text(fields.get("model")),
    }


def read_sysctl(said: str) -> Values:
    """Read `sysctl kern.boottime kern.hv_vmm_present`. Raises Unreadable."""
    booted = re.search(r"^kern\.boottime: \{ sec = (\d{9,11}),", said, re.MULTILINE)
    virtual = re.search(r"^kern\.hv_vmm_present: ([01])$", said, re.MULTILINE)
    if booted is None:
        raise Unreadable("sysctl names no time of the start")
    return {
        "device.booted_at": float(booted[1]),
        "device.virtual": None if virtual is None else "apple" if virtual[1] == "1" else "none",
    }


def read_updates(said: str) -> Values:
    """Read `softwareupdate --list --no-scan`. Raises Unreadable unless it says that it looked."""
    if "Software Update Tool" not in said and "No new software available" not in said:
        raise Unreadable("softwareupdate gave no list")
    labels = re.findall(r"^\* Label: (.+)$", said, re.MULTILINE)
    titles = re.findall(r"^\s+Title: (.+?), Version:.*$", said, re.MULTILINE)
    if len(labels) != len(titles):
        raise Unreadable("softwareupdate lists updates in another form")
    # Apple ships fixes of vulnerabilities in macOS, Safari and rapid responses; it marks none of them.
    security = [title for title in titles if re.match(r"macOS|Safari|Security|Rapid", title)]
    return {"patches.pending": len(labels), "patches.security_pending": len(security)}


def read_update_settings(data: bytes) -> Values:
    """Read com.apple.SoftwareUpdate.plist. Raises Unreadable."""
    found = _plist(data)
    looked, wanted = (
        found.get("LastSuccessfulDate"),
        ("AutomaticCheckEnabled", "AutomaticDownload", "CriticalUpdateInstall"),
    )
    return {
        "patches.lists_updated_at": _instant(looked),
        "patches.automatic": all(found.get(name) in (True, 1) for name in wanted),
    }


def read_xprotect(data: bytes, made: float, extensions: str) -> Values:
    """Read XProtect's Info.plist and `systemextensionsctl list`: another product counts before Apple's own."""
    version = text(str(_plist(data).get("CFBundleShortVersionString", "")))
    if version is None:
        raise Unreadable("XProtect names no version")
    for identifier, name in PRODUCTS.items():
        if re.search(rf"^\*\t\*\t.*\b{re.escape(identifier)}\b.*\[activated enabled\]", extensions, re.MULTILINE):
            return {"antivirus.product": name, "antivirus.running": True, "antivirus.realtime": True}
    return {
        "antivirus.product": "xprotect",
        "antivirus.running": True,
        "antivirus.signatures_version": version,
        "antivirus.signatures_at": made,
    }


def read_realtime(said: str) -> Values:
    """Read `xprotect status` (macOS 15): its scans at the launch of programs. Raises Unreadable."""
    found = re.search(r"^XProtect launch scans: (enabled|disabled)$", said, re.MULTILINE)
    if found is None:
        raise Unreadable("xprotect gave no status")
    return {"antivirus.realtime": found[1] == "enabled"}


def read_firewall(said: str) -> Values:
    """Read `socketfilterfw --getglobalstate`. Raises Unreadable."""
    found = re.search(r"\(State = ([012])\)", said)
    if found is None:
        raise Unreadable("socketfilterfw gave no state")
    on = found[1] != "0"
    return {
        "firewall.product": "alf",
        "firewall.enabled": on,
        "firewall.input_policy": "drop" if on else "accept",
    }


def read_filevault(said: str) -> Values:
    """Read `fdesetup status`: one volume group holds system, homes and swap. Raises Unreadable."""
    line = said.strip().split("\n")[0].strip()
    if line not in ("FileVault is On.", "FileVault is Off."):
        raise Unreadable("fdesetup gave no status")
    # while it still encrypts or decrypts, a part of the disk is clear
    on = line == "FileVault is On." and not re.search(r"(?:En|De)cryption in progress", said)
    names = ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted")
    return {**dict.fromkeys(names, on), "disk.chain": f"filevault {'on' if on else 'off'}"}


def read_protection(said: str) -> Values:
    """Read `csrutil status`. A custom configuration is none that anybody vouches for. Raises Unreadable."""
    found = re.search(r"System Integrity Protection status: (enabled|disabled|unknown)(.*)", said)
    if found is None:
        raise Unreadable("csrutil gave no status")
    return {"boot.integrity_protection": found[1] == "enabled" and "Custom Configuration" not in said}


def read_security_chip(said: str) -> Values:
    """Read `system_profiler SPiBridgeDataType SPHardwareDataType`: Apple silicon or a T2, and its boot policy."""
    apple = re.search(r"^\s*Chip: Apple ", said, re.MULTILINE) is not None
    chip = apple or "Apple T2" in said
    secure = re.search(r"Secure Boot: (\w+ Security)", said)
    return {
        "boot.firmware": "uefi" if not apple else "apple",
        "boot.tpm_present": chip,
        "boot.secure_boot": secure[1] == "Full Security" if secure else None,
    }


def read_screen(lock: str, power: str) -> Values:
    """Read `sysadminctl -screenLock status` and `pmset -g`: off with the display, and so many seconds later. Raises Unreadable."""
    asleep = re.search(r"^\s*displaysleep\s+(\d{1,6})\b", power, re.MULTILINE)
    if asleep is None:
        raise Unreadable("pmset names no displaysleep")
    if re.search(r"screenLock is off", lock):
        return {"screen.lock_enabled": False}
    after = re.search(r"screenLock delay is (immediate|(\d{1,6})(?:\.\d+)? seconds)", lock)
    if after is None:
        raise Unreadable("sysadminctl gave no status of the screen lock")
    minutes, more = int(asleep[1]), int(after[2] or 0)
    return {"screen.lock_enabled": minutes > 0, "screen.lock_delay": minutes * 60 + more if minutes else None}


def read_administrators(said: str) -> Values:
    """Read `dscl . -read /Groups/admin GroupMembership`. Raises Unreadable."""
    found = re.match(r"GroupMembership:((?: \S+)+)\s*$", said)
    if found is None:
        raise Unreadable("dscl names no administrators")
    return {"users.administrators": texts(found[1].split())}


def read_domain(directory: str, enrolment: str) -> Values:
    """Read `dsconfigad -show` (nothing when there is no domain) and `profiles status -type enrollment`. Raises Unreadable."""
    domain = re.search(r"^Active Directory Domain\s+= (\S+)$", directory, re.MULTILINE)
    mdm = re.search(r"^MDM enrollment: (Yes|No)", enrolment, re.MULTILINE)
    if mdm is None:
        raise Unreadable("profiles gave no status of the enrolment")
    return {
        "domain.joined": domain is not None,
        "domain.kind": "active-directory" if domain else "none",
        "domain.name": text(domain[1].lower()) if domain else None,
        "domain.mdm_enrolled": mdm[1] == "Yes",
    }


def read_processes(said: str) -> Values:
    """Read `ps -axo comm=`: paths, and names of what has none."""
    return {"processes.executables": texts(line for line in said.split("\n") if line.startswith("/"))}


def read_listening(said: str) -> Values:
    """Read `lsof -nP -iTCP -sTCP:LISTEN -iUDP -Fcn`: fields by their first letter. Raises Unreadable."""
    programs: dict[str, str] = {}
    command, protocol = "", "tcp"
    for line in said.split("\n"):
        kind, value = line[:1], line[1:]
        if kind == "c":
            command = value
        elif kind == "P":
            protocol = value.lower()
        elif kind == "n" and "->" not in value and (port := _open_port(value)):
            programs[f"{protocol}/{port}"] = text(command) or "unknown"
        elif kind and kind not in "cPnpf":
            raise Unreadable("lsof gave fields that nobody asked for")
    return {"network.listening": texts(programs), "network.listening_programs": programs}


def _open_port(name: str) -> int | None:
    host, colon, port = name.rpartition(":")
    if not colon or not port.isdecimal() or host.startswith(("127.", "[::1]")):
        return None
    return int(port)


def read_network(route: str, dns: str) -> Values:
    """Read `route -n get default` and `scutil --dns`. Raises Unreadable."""
    if "resolver #" not in dns and "No DNS configuration" not in dns:
        raise Unreadable("scutil gave no resolvers")
    gateways = re.findall(r"^\s*gateway: (\S+)$", route, re.MULTILINE)
    servers = re.findall(r"^\s*nameserver\[\d+\] : (\S+)$", dns, re.MULTILINE)
    return {
        "network.gateways": texts(filter(_is_address, gateways)),
        "network.dns_servers": texts(filter(_is_address, servers)),
    }


def _is_address(said: str) -> bool:
    try:
        ipaddress.ip_address(said.partition("%")[0])
    except ValueError:
        return False
    return True


def _plist(data: bytes) -> Values:
    try:
        found = plistlib.loads(data)
    except Exception:  # plistlib raises what its parsers raise
        raise Unreadable("a property list cannot be read") from None
    if not isinstance(found, dict):
        raise Unreadable("a property list is no dictionary")
    return found


def _instant(value: object) -> float | None:
    return value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) and value.tzinfo is None else None
