"""Which machine this is: names from SMBIOS (dmidecode's tables in /sys), virtual or a container, and since when it runs."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, absent, attempt, command, file, stated, text
from agent.wire import Fact

DMI: Final = Path("/sys/class/dmi/id")
FACTS: Final = (
    "device.hostname",
    "device.serial",
    "device.uuid",
    "device.vendor",
    "device.model",
    "device.virtual",
    "device.container",
    "device.booted_at",
)
PLACEHOLDERS: Final = re.compile(
    r"(to be filled by o\.?e\.?m\.?|default string|system (serial number|product name|manufacturer)|not (specified|"
    r"applicable|available)|none|n/?a|invalid|unknown|x+|0+|0123456789|123456789|[.\s-]+)",
    re.IGNORECASE,
)
"""What boards say whose maker filled in nothing: a serial number that thousands of machines share names none of them."""
NIL_UUIDS: Final = {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DETECTED = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")
HYPERVISORS: Final = (  # the vendor or product that SMBIOS names, and what systemd calls it
    ("kvm", "kvm"),
    ("qemu", "qemu"),
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("xen", "xen"),
    ("bochs", "bochs"),
    ("parallels", "parallels"),
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
)


def collect(*, now: float, dmi: Path = DMI) -> dict[str, Fact]:
    """Read the facts; the serial number and the UUID need root."""
    return {
        **stated("uname", now, device__hostname=text(os.uname().nodename)),
        **_smbios(now, dmi),
        **_virtual(now, dmi),
        **_booted(now),
    }


def _smbios(now: float, dmi: Path) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for fact, name in (("serial", "product_serial"), ("vendor", "sys_vendor"), ("model", "product_name")):
        found |= _read(f"device.{fact}", dmi / name, now)
    uuid = _read("device.uuid", dmi / "product_uuid", now)["device.uuid"]
    value = parse_uuid(uuid.value) if isinstance(uuid.value, str) else None
    reason = None if value else uuid.absent or f"{dmi / 'product_uuid'} holds no UUID"
    return {**found, "device.uuid": Fact(value, uuid.source, now, reason)}


def _read(name: str, path: Path, now: float) -> dict[str, Fact]:
    try:
        return stated(str(path), now, **{name.replace(".", "__"): parse_smbios(file(path))})
    except Unreadable as error:
        return absent((name,), str(path), now, str(error))


def parse_smbios(raw: str) -> str | None:
    """One string of SMBIOS, without the words that stand for none."""
    value = text(raw)
    return None if value is None or PLACEHOLDERS.fullmatch(value) else value


def parse_uuid(raw: str) -> str | None:
    value = raw.strip().lower()
    return value if _UUID.fullmatch(value) and value not in NIL_UUIDS else None


def _virtual(now: float, dmi: Path) -> dict[str, Fact]:
    try:
        # systemd-detect-virt(1): status 1 when there is nothing to detect, and then it prints `none`
        machine, container = (
            parse_detected(command("systemd-detect-virt", f"--{kind}", statuses=(0, 1))) for kind in ("vm", "container")
        )
        return stated("systemd-detect-virt", now, device__virtual=machine, device__container=container)
    except Unreadable:
        named = " ".join(attempt(partial(file, dmi / name)) or "" for name in ("sys_vendor", "product_name"))
        flags = attempt(lambda: file("/proc/cpuinfo")) or ""
        return stated(
            f"{dmi}, /proc",
            now,
            device__virtual=virtual(named, flags),
            device__container=container_of(attempt(lambda: file("/proc/1/environ")) or "", _marks()),
        )


def parse_detected(said: str) -> str:
    """Read the answer of systemd-detect-virt. Raises Unreadable."""
    word = said.strip()
    if not _DETECTED.fullmatch(word):
        raise Unreadable("systemd-detect-virt gave no name")
    return word


def virtual(named: str, cpuinfo: str) -> str:
    """Name the hypervisor by SMBIOS, or else by the processor's flag, which says only that there is one."""
    for word, name in HYPERVISORS:
        if word in named.lower():
            return name
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return "vm-other" if flags and "hypervisor" in flags[1].split() else "none"


def container_of(environment: str, marks: set[str]) -> str:
    """Name the container that the first process runs in: by its own variable, or by the file its runtime leaves."""
    told = next((v.removeprefix("container=") for v in environment.split("\0") if v.startswith("container=")), "")
    if _DETECTED.fullmatch(told):
        return told
    return "podman" if ".containerenv" in marks else "docker" if ".dockerenv" in marks else "none"


def _marks() -> set[str]:
    return {path.name for path in (Path("/run/.containerenv"), Path("/.dockerenv")) if path.exists()}


def _booted(now: float) -> dict[str, Fact]:
    try:
        return stated("/proc/stat", now, device__booted_at=parse_stat(file("/proc/stat")))
    except Unreadable as error:
        return absent(("device.booted_at",), "/proc/stat", now, str(error))


def parse_stat(said: str) -> float:
    """Read `btime` of /proc/stat (proc(5)). Raises Unreadable."""
    found = re.search(r"^btime (\d{1,11})$", said, re.MULTILINE)
    if found is None:
        raise Unreadable("/proc/stat has no btime")
    return float(found[1])
