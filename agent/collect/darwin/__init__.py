"""The collectors of macOS 13 and later. Never run on the system itself: see `subjects.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.collect.certificates import described, ordered
from agent.collect.darwin import subjects as read
from agent.collect.linux.sudoers import Grant
from agent.collect.linux.users import sudo_grants
from agent.collect.reading import Unreadable, attempt, command, content, text, texts
from agent.wire import Fact

Values = dict[str, Any]
UPDATES: Final = Path("/Library/Preferences/com.apple.SoftwareUpdate.plist")
RECEIPTS: Final = Path("/Library/Receipts/InstallHistory.plist")
XPROTECT: Final = Path("/Library/Apple/System/Library/CoreServices/XProtect.bundle/Contents/Info.plist")
FIREWALL: Final = "/usr/libexec/ApplicationFirewall/socketfilterfw"
SYSTEM_KEYCHAIN: Final = "/Library/Keychains/System.keychain"


def _system() -> Values:
    uname = os.uname()
    return {**read.read_version(command("sw_vers")), "os.kernel": uname.release, "os.architecture": uname.machine}


def _device() -> Values:
    hardware = read.read_hardware(command("ioreg", "-rd1", "-c", "IOPlatformExpertDevice"))
    started = read.read_sysctl(command("sysctl", "kern.boottime", "kern.hv_vmm_present", statuses=(0, 1)))
    return {**hardware, **started, "device.hostname": text(os.uname().nodename)}


def _patches() -> Values:
    said = command("softwareupdate", "--list", "--no-scan", timeout=120.0)
    installed = RECEIPTS.stat().st_mtime if RECEIPTS.exists() else None
    return {
        **read.read_updates(said),
        **read.read_update_settings(content(UPDATES)),
        "patches.installed_at": installed,
    }


def _antivirus() -> Values:
    extensions = attempt(lambda: command("systemextensionsctl", "list")) or ""
    found = read.read_xprotect(content(XPROTECT), XPROTECT.stat().st_mtime, extensions)
    if found["antivirus.product"] == "xprotect":
        found |= attempt(lambda: read.read_realtime(command("xprotect", "status"))) or {}
    return found


def _boot() -> Values:
    said = command("system_profiler", "SPiBridgeDataType", "SPHardwareDataType", timeout=60.0)
    return {**read.read_protection(command("csrutil", "status")), **read.read_security_chip(said)}


def _screen() -> Values:
    return read.read_screen(command("sysadminctl", "-screenLock", "status"), command("pmset", "-g"))


def _users() -> Values:
    grants: list[Grant] = sudo_grants(Path("/etc/sudoers"))
    free = texts(grant.who for grant in grants if grant.without_password)
    found = read.read_administrators(command("dscl", ".", "-read", "/Groups/admin", "GroupMembership"))
    return {**found, "users.without_password": free}


def _domain() -> Values:
    directory = attempt(lambda: command("dsconfigad", "-show")) or ""
    return read.read_domain(directory, command("profiles", "status", "-type", "enrollment"))


def _listening() -> Values:
    said = command("lsof", "-nP", "-iTCP", "-sTCP:LISTEN", "-iUDP", "-FcPn", timeout=30.0, statuses=(0, 1))
    return read.read_listening(said)


def _network() -> Values:
    route = attempt(lambda: command("route", "-n", "get", "default")) or ""
    return read.read_network(route, command("scutil", "--dns"))


def _certificates() -> Values:
    said = command("security", "find-certificate", "-a", "-p", SYSTEM_KEYCHAIN)
    found = ordered(described(said.encode())) if said.strip() else []
    return {
        "certificates.device": [each for each in found if each["subject"] != each["issuer"]],
        "certificates.extra_roots": [each for each in found if each["subject"] == each["issuer"]],
    }


SUBJECTS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[], Values], str]]] = {
    "system": (
        ("os.family", "os.distribution", "os.version", "os.build", "os.kernel", "os.architecture"),
        _system,
        "sw_vers",
    ),
    "device": (
        (
            *("device.hostname", "device.serial", "device.uuid", "device.vendor", "device.model", "device.virtual"),
            "device.booted_at",
        ),
        _device,
        "ioreg, sysctl",
    ),
    "patches": (
        (
            *("patches.pending", "patches.security_pending", "patches.lists_updated_at", "patches.installed_at"),
            "patches.automatic",
        ),
        _patches,
        "softwareupdate",
    ),
    "antivirus": (
        (
            *("antivirus.product", "antivirus.running", "antivirus.realtime", "antivirus.engine_version"),
            *("antivirus.signatures_version", "antivirus.signatures_at"),
        ),
        _antivirus,
        "XProtect, systemextensionsctl",
    ),
    "firewall": (
        ("firewall.product", "firewall.enabled", "firewall.input_policy"),
        lambda: read.read_firewall(command(FIREWALL, "--getglobalstate")),
        "socketfilterfw",
    ),
    "disk": (
        ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted", "disk.chain"),
        lambda: read.read_filevault(command("fdesetup", "status")),
        "fdesetup status",
    ),
    "boot": (
        ("boot.firmware", "boot.secure_boot", "boot.integrity_protection", "boot.tpm_present"),
        _boot,
        "csrutil, system_profiler",
    ),
    "screen": (("screen.lock_enabled", "screen.lock_delay"), _screen, "sysadminctl, pmset"),
    "users": (("users.administrators", "users.without_password"), _users, "dscl, sudoers"),
    "domain": (("domain.joined", "domain.kind", "domain.name", "domain.mdm_enrolled"), _domain, "dsconfigad, profiles"),
    "processes": (("processes.executables",), lambda: read.read_processes(command("ps", "-axo", "comm=")), "ps"),
    "listening": (("network.listening", "network.listening_programs"), _listening, "lsof"),
    "network": (("network.gateways", "network.dns_servers"), _network, "route, scutil"),
    "certificates": (("certificates.device", "certificates.extra_roots"), _certificates, SYSTEM_KEYCHAIN),
}


def collect(name: str, *, now: float) -> dict[str, Fact]:
    """Ask one subject. Raises Unreadable."""
    facts, look, source = SUBJECTS[name]
    try:
        values = look()
    except OSError as error:
        raise Unreadable(f"{source}: {error.strerror}") from None
    return {
        fact: Fact(value, source, now, None if value is not None else f"{source} does not say")
        for fact in facts
        for value in [values.get(fact)]
    }
