"""Secure boot, lockdown and TPM, from a tree like /sys that a machine with all of it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.collect.linux import boot
from agent.collect.linux.boot import GLOBAL, SHIM, parse_efivar, parse_lockdown, tpm_version
from agent.collect.reading import Unreadable

ON, OFF = b"\x06\0\0\0\x01", b"\x06\0\0\0\0"


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    variables = tmp_path / "firmware" / "efi" / "efivars"
    variables.mkdir(parents=True)
    (variables / f"SecureBoot-{GLOBAL}").write_bytes(ON)
    (variables / f"SetupMode-{GLOBAL}").write_bytes(OFF)
    lockdown = tmp_path / "kernel" / "security"
    lockdown.mkdir(parents=True)
    (lockdown / "lockdown").write_text("none [integrity] confidentiality\n")
    chip = tmp_path / "class" / "tpm" / "tpm0"
    chip.mkdir(parents=True)
    (chip / "tpm_version_major").write_text("2\n")
    return tmp_path


def values(sys: Path) -> dict[str, Any]:
    return {name.removeprefix("boot."): fact.value for name, fact in boot.collect(now=1.0, sys=sys).items()}


def test_a_machine_that_started_from_signed_code_says_so(sys: Path) -> None:
    assert values(sys) == {
        "firmware": "uefi",
        "secure_boot": True,
        "lockdown": "integrity",
        "tpm_present": True,
        "tpm_version": "2.0",
    }


@pytest.mark.parametrize(
    ("variable", "content", "expected"),
    [
        (f"SecureBoot-{GLOBAL}", OFF, False),
        (f"SetupMode-{GLOBAL}", ON, False),
        (f"MokSBStateRT-{SHIM}", ON, False),
        (f"MokSBStateRT-{SHIM}", OFF, True),
        (f"SecureBoot-{GLOBAL}", b"", None),
        (f"SecureBoot-{GLOBAL}", b"\x06\0\0\0\x07", None),
        (f"SecureBoot-{GLOBAL}", b"\x01", None),
        (f"SetupMode-{GLOBAL}", b"\0" * 5000, None),
    ],
)
def test_secure_boot_is_on_only_when_nothing_undoes_it(
    sys: Path, variable: str, content: bytes, expected: bool | None
) -> None:
    (sys / "firmware" / "efi" / "efivars" / variable).write_bytes(content)
    assert values(sys)["secure_boot"] is expected


def test_a_variable_that_is_missing_is_no_secure_boot(sys: Path) -> None:
    (sys / "firmware" / "efi" / "efivars" / f"SecureBoot-{GLOBAL}").unlink()
    fact = boot.collect(now=1.0, sys=sys)["boot.secure_boot"]
    assert fact.value is None
    assert "No such file" in str(fact.absent)


def test_a_machine_without_all_of_it_has_none_of_it(tmp_path: Path) -> None:
    assert values(tmp_path) == {
        "firmware": "bios",
        "secure_boot": False,
        "lockdown": "none",
        "tpm_present": False,
        "tpm_version": None,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[none] integrity confidentiality\n", "none"), ("none integrity [confidentiality]\n", "confidentiality")],
)
def test_the_lockdown_that_is_chosen_stands_in_brackets(text: str, expected: str) -> None:
    assert parse_lockdown(text) == expected


@pytest.mark.parametrize("text", ["", "none", "[all]", "[none] [integrity]", "\0", "[" * 10_000, "[integrity]\nx"])
def test_another_lockdown_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_lockdown(text)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x06\0\0\0\x02", ON * 2, b"\0" * (10 << 20)])
def test_a_variable_of_another_form_is_no_switch(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_efivar(data)


@pytest.mark.parametrize(
    ("major", "caps", "version"),
    [
        ("2\n", None, "2.0"),
        ("1\n", None, "1.2"),
        (None, "Manufacturer: 0x49465800\nTCG version: 1.2\nFirmware version: 4.32\n", "1.2"),
        ("3\n", None, None),
        (None, None, None),
        (None, "\0", None),
    ],
)
def test_a_chip_says_its_version_in_one_of_two_places(major: str | None, caps: str | None, version: str | None) -> None:
    assert tpm_version(major, caps) == version
