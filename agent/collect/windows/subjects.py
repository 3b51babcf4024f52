"""What is asked of Windows and how each answer becomes facts: a script, the facts, and a pure reader of the answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agent.collect.reading import Unreadable, texts
from agent.collect.windows.powershell import Values, flag, members, number, rows, strings, text

ENCRYPTED: Final = ("FullyEncrypted", 1)
PROTECTED: Final = ("On", 1)
VIRTUAL: Final = (
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("virtual machine", "microsoft"),
    ("kvm", "kvm"),
    ("qemu", "qemu"),
    ("parallels", "parallels"),
)
MICROSOFT: Final = re.compile(r"\bO=Microsoft Corporation\b")


@dataclass(frozen=True, slots=True)
class Subject:
    """One collector of Windows."""

    script: str
    facts: tuple[str, ...]
    read: Callable[[str], Values]
    source: str


def read_system(said: str) -> Values:
    """Read CurrentVersion of the registry. Raises Unreadable."""
    found = members(said)
    build, revision = text(found.get("CurrentBuild")), number(found.get("UBR"))
    if build is None or not build.isdecimal() or revision is None:
        raise Unreadable("the registry names no build of Windows")
    server = found.get("InstallationType") in ("Server", "Server Core")
    return {
        "os.family": "windows",
        "os.distribution": "windows-server" if server else "windows",
        "os.version": f"10.0.{build}.{revision}",
        "os.release": text(found.get("DisplayVersion")) or text(found.get("ReleaseId")),
        "os.edition": text(found.get("EditionID")),
        "os.build": f"{build}.{revision}",
        "os.kernel": f"10.0.{build}.{revision}",
        "os.architecture": {"AMD64": "x86_64", "ARM64": "aarch64"}.get(str(found.get("Architecture"))),
    }


def read_device(said: str) -> Values:
    found = members(said)
    model = text(found.get("Model")) or ""
    virtual = next((name for word, name in VIRTUAL if word in f"{found.get('Vendor')} {model}".lower()), "none")
    uuid = (text(found.get("Uuid")) or "").lower()
    return {
        "device.hostname": text(found.get("Name")),
        "device.serial": text(found.get("Serial")),
        "device.uuid": uuid if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) else None,
        "device.vendor": text(found.get("Vendor")),
        "device.model": model or None,
        "device.virtual": virtual,
        "device.booted_at": number(found.get("BootedAt")),
    }


def read_patches(said: str) -> Values:
    found = members(said)
    pending, security = number(found.get("Pending")), number(found.get("Security"))
    return {
        "patches.pending": pending,
        "patches.security_pending": security if pending is not None else None,
        "patches.lists_updated_at": number(found.get("SearchedAt")),
        "patches.installed_at": number(found.get("InstalledAt")),
        "patches.reboot_required": flag(found.get("Reboot")),
        "patches.automatic": flag(found.get("Automatic")),
    }


def read_antivirus(said: str) -> Values:
    """Defender by its own word, or else what Security Center knows: `productState` has 0x1000 for on (wscapi)."""
    found = members(said)
    defender = found.get("Defender")
    others = [row for row in rows(found.get("Others")) if "defender" not in str(row.get("Name")).lower()]
    running = [row for row in others if isinstance(row.get("State"), int) and row["State"] & 0xF000 == 0x1000]
    if isinstance(defender, dict) and flag(defender.get("Enabled")) and not running:
        return {
            "antivirus.product": "defender",
            "antivirus.running": True,
            "antivirus.realtime": flag(defender.get("Realtime")),
            "antivirus.engine_version": text(defender.get("Engine")),
            "antivirus.signatures_version": text(defender.get("Signatures")),
            "antivirus.signatures_at": number(defender.get("SignaturesAt")),
        }
    if running:
        name = re.sub(r"[^a-z0-9]+", "-", str(running[0].get("Name")).lower()).strip("-")
        return {"antivirus.product": text(name), "antivirus.running": True, "antivirus.realtime": True}
    return {"antivirus.running": False, "antivirus.realtime": False}


def read_firewall(said: str) -> Values:
    """All three profiles have to be on: which of them counts changes with the network. Raises Unreadable."""
    profiles = {row.get("Name"): row for row in rows(members(said).get("Profiles"))}
    if set(profiles) != {"Domain", "Private", "Public"}:
        raise Unreadable("there are not the three profiles of the firewall")
    # NotConfigured of the active store is Block; 4 is Block, 2 Allow, 0 NotConfigured (MSFT_NetFirewallProfile)
    closed = all(
        row.get("Enabled") in (1, True, "True") and row.get("Inbound") in (0, 4, "Block", "NotConfigured")
        for row in profiles.values()
    )
    return {
        "firewall.product": "windows-firewall",
        "firewall.enabled": closed,
        "firewall.input_policy": "drop" if closed else "accept",
    }


def read_disk(said: str) -> Values:
    """BitLocker of the drives of Windows, of the profiles and of the page files. Protection that is suspended is none."""
    found = members(said)
    volumes = {str(row.get("Drive")).upper(): row for row in rows(found.get("Volumes"))}

    def sound(drive: object) -> bool | None:
        row = volumes.get(str(drive).upper())
        return None if row is None else row.get("Status") in ENCRYPTED and row.get("Protection") in PROTECTED

    pages = [sound(drive) for drive in strings(found.get("PageFiles"))]
    root = sound(found.get("System"))
    return {
        "disk.root_encrypted": root,
        "disk.home_encrypted": sound(found.get("Profiles")),
        "disk.swap_encrypted": None if None in pages else all(pages),
        "disk.chain": None if root is None else f"{text(found.get('System'))} {'bitlocker' if root else 'clear'}",
    }


def read_boot(said: str) -> Values:
    found = members(said)
    version = re.match(r"(\d\.\d)", str(found.get("TpmVersion")))
    services = found.get("Services")
    running = [services] if isinstance(services, int) else services
    return {
        "boot.firmware": {1: "bios", 2: "uefi"}.get(int(number(found.get("Firmware")) or 0)),
        "boot.secure_boot": flag(found.get("SecureBoot")),
        "boot.integrity_protection": 2 in running if isinstance(running, list) else None,  # 2: HVCI (Win32_DeviceGuard)
        "boot.tpm_present": flag(found.get("TpmPresent")),
        "boot.tpm_version": version[1] if version else None,
    }


def read_screen(said: str) -> Values:
    """The machine's limit holds for everybody; else every profile needs a screen saver that asks for the password."""
    found = members(said)
    limit = number(found.get("Limit"))
    profiles = rows(found.get("Profiles"))
    delays = [
        int(row["Timeout"])
        for row in profiles
        if row.get("Active") == "1" and row.get("Secure") == "1" and str(row.get("Timeout")).isdecimal()
    ]
    if limit:
        return {"screen.lock_enabled": True, "screen.lock_delay": limit}
    sound = bool(profiles) and len(delays) == len(profiles) and min(delays) > 0
    return {"screen.lock_enabled": sound, "screen.lock_delay": max(delays) if sound else None}


def read_users(said: str) -> Values:
    return {"users.administrators": texts(strings(members(said).get("Members")))}


def read_domain(said: str) -> Values:
    """Read `dsregcmd /status`: lines of `Name : value`. Raises Unreadable."""
    status = str(members(said).get("Status"))
    fields = {name: value.strip() for name, value in re.findall(r"^\s*(\w+) : (.*?)\r?$", status, re.MULTILINE)}
    if not {"AzureAdJoined", "DomainJoined"} <= set(fields):
        raise Unreadable("dsregcmd gave no status")
    entra, domain = fields["AzureAdJoined"] == "YES", fields["DomainJoined"] == "YES"
    kind = "hybrid" if entra and domain else "entra" if entra else "active-directory" if domain else "none"
    name = fields.get("DomainName") if domain else fields.get("TenantName")
    return {
        "domain.joined": entra or domain,
        "domain.kind": kind,
        "domain.name": text((name or "").lower()),
        "domain.mdm_enrolled": fields.get("MdmUrl", "").startswith("https://"),
    }


def read_processes(said: str) -> Values:
    return {"processes.executables": texts(strings(members(said).get("Paths")))}


def read_network(said: str) -> Values:
    found = members(said)
    open_ports: dict[str, str] = {}
    for protocol in ("tcp", "udp"):
        for row in rows(found.get(protocol.capitalize())):
            address, port = str(row.get("Address")), number(row.get("Port"))
            if port is not None and not address.startswith("127.") and address != "::1":
                open_ports[f"{protocol}/{port}"] = text(row.get("Path")) or "unknown"
    return {
        "network.listening": texts(open_ports),
        "network.listening_programs": open_ports,
        "network.gateways": texts(strings(found.get("Gateways"))),
        "network.dns_servers": texts(strings(found.get("Servers"))),
    }


def read_certificates(said: str) -> Values:
    found = members(said)
    own = [_certificate(row) for row in rows(found.get("My"))]
    roots = [_certificate(row) for row in rows(found.get("Root"))]
    shipped = {each.lower() for each in strings(found.get("Shipped"))}
    return {
        "certificates.device": _sorted(own),
        "certificates.extra_roots": _sorted(
            [each for each in roots if each["sha256"] not in shipped and not MICROSOFT.search(each["subject"])]
        ),
    }


def _certificate(row: Values) -> Values:
    sha256 = str(row.get("Sha256")).lower()
    found = {
        "subject": text(row.get("Subject")) or "(empty)",
        "issuer": text(row.get("Issuer")) or "(empty)",
        "sha256": sha256,
        "not_before": number(row.get("NotBefore")),
        "not_after": number(row.get("NotAfter")),
    }
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or None in found.values():
        raise Unreadable("a certificate is described in another form")
    return found


def _sorted(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda each: str(each["sha256"]))
