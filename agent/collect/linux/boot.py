"""What the machine started from: firmware, secure boot, the kernel's lockdown, a TPM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, absent, attempt, content, file, stated
from agent.wire import Fact

FACTS: Final = ("boot.firmware", "boot.secure_boot", "boot.lockdown", "boot.tpm_present", "boot.tpm_version")
SYS: Final = Path("/sys")
GLOBAL: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""EFI_GLOBAL_VARIABLE of the UEFI specification."""
SHIM: Final = "605dab50-e046-4300-abb6-3dd810dd8b23"
"""Variables of shim, the loader of distributions: `mokutil --disable-validation` turns its checks off behind the firmware's back."""
LARGEST_VARIABLE: Final = 4096
LOCKDOWNS: Final = ("none", "integrity", "confidentiality")


def collect(*, now: float, sys: Path = SYS) -> dict[str, Fact]:
    """Read the facts below /sys."""
    efi = sys / "firmware" / "efi"
    firmware = "uefi" if efi.is_dir() else "bios"
    return {
        **stated(str(efi), now, boot__firmware=firmware),
        **_secure_boot(efi, now),
        **_lockdown(sys / "kernel" / "security" / "lockdown", now),
        **_tpm(sys / "class" / "tpm", now),
    }


def _secure_boot(efi: Path, now: float) -> dict[str, Fact]:
    variables = efi / "efivars"
    if not efi.is_dir():
        return stated(f"{efi}: no UEFI", now, boot__secure_boot=False)
    try:
        on = parse_efivar(content(variables / f"SecureBoot-{GLOBAL}", largest=LARGEST_VARIABLE))
        setup = _variable(variables / f"SetupMode-{GLOBAL}")
        waived = _variable(variables / f"MokSBStateRT-{SHIM}")
    except Unreadable as error:
        return absent(("boot.secure_boot",), str(variables), now, str(error))
    return stated(str(variables), now, boot__secure_boot=on and not setup and not waived)


def _variable(path: Path) -> bool:
    return path.exists() and parse_efivar(content(path, largest=LARGEST_VARIABLE))


def parse_efivar(data: bytes) -> bool:
    """Read an efivarfs file that holds a switch: four bytes of attributes, then 0 or 1. Raises Unreadable."""
    if len(data) != 5 or data[4] not in (0, 1):
        raise Unreadable("the EFI variable is no switch")
    return data[4] == 1


def _lockdown(path: Path, now: float) -> dict[str, Fact]:
    if not path.exists():  # the kernel was built without it, or securityfs is not mounted
        return stated(f"{path} does not exist", now, boot__lockdown="none")
    try:
        return stated(str(path), now, boot__lockdown=parse_lockdown(file(path)))
    except Unreadable as error:
        return absent(("boot.lockdown",), str(path), now, str(error))


def parse_lockdown(text: str) -> str:
    """Read `none [integrity] confidentiality` (kernel_lockdown(7)). Raises Unreadable."""
    chosen = re.fullmatch(r"(?:\w+ )*\[(\w+)\](?: \w+)*", text.strip())
    if chosen is None or chosen[1] not in LOCKDOWNS:
        raise Unreadable("the lockdown is named in no known form")
    return chosen[1]


def _tpm(folder: Path, now: float) -> dict[str, Fact]:
    chips = sorted(path for path in folder.glob("tpm[0-9]*") if path.is_dir()) if folder.is_dir() else []
    if not chips:
        gone = absent(("boot.tpm_version",), str(folder), now, "there is no TPM")
        return {**stated(str(folder), now, boot__tpm_present=False), **gone}
    major = attempt(lambda: file(chips[0] / "tpm_version_major", largest=100))
    caps = attempt(lambda: file(chips[0] / "device" / "caps", largest=LARGEST_VARIABLE))
    return stated(str(chips[0]), now, boot__tpm_present=True, boot__tpm_version=tpm_version(major, caps))


def tpm_version(major: str | None, caps: str | None) -> str | None:
    """`2` in tpm_version_major, or `TCG version: 1.2` in the caps of older kernels."""
    if major is not None:
        return {"2": "2.0", "1": "1.2"}.get(major.strip())
    found = re.search(r"^TCG version: (\d\.\d)", caps or "", re.MULTILINE)
    return found[1] if found else None
