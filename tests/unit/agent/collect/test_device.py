"""Which machine this is; what a board's maker did not fill in names nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.collect.linux import device
from agent.collect.linux.device import container_of, parse_detected, parse_smbios, parse_stat, parse_uuid, virtual
from agent.collect.reading import Unreadable

FLAGS = "processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("PF3ABCDE\n", "PF3ABCDE"),
        ("LENOVO\n", "LENOVO"),
        ("20XW0055GE  \n", "20XW0055GE"),
        ("To Be Filled By O.E.M.\n", None),
        ("Default string\n", None),
        ("System Serial Number\n", None),
        ("Not Specified\n", None),
        ("None", None),
        ("0000000000\n", None),
        ("0123456789\n", None),
        ("........", None),
        ("", None),
        ("\0\0\0", None),
        ("a\x1b[2Jb\n", "a [2Jb"),
        ("x" * 10_000, None),
        ("A1" * 5000, ("A1" * 100)),
    ],
)
def test_a_placeholder_is_no_name(raw: str, value: str | None) -> None:
    assert parse_smbios(raw) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("4C4C4544-0051-3510-8052-B4C04F4A3232\n", "4c4c4544-0051-3510-8052-b4c04f4a3232"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None),
        ("4C4C4544", None),
        ("", None),
        ("\0", None),
    ],
)
def test_a_uuid_that_every_board_has_is_none(raw: str, value: str | None) -> None:
    assert parse_uuid(raw) == value


@pytest.mark.parametrize(
    ("named", "cpuinfo", "expected"),
    [
        ("QEMU Standard PC (Q35 + ICH9, 2009)", FLAGS, "qemu"),
        ("VMware, Inc. VMware7,1", FLAGS, "vmware"),
        ("innotek GmbH VirtualBox", FLAGS, "oracle"),
        ("Amazon EC2 m5.large", FLAGS, "amazon"),
        ("LENOVO 20XW0055GE", FLAGS, "vm-other"),
        ("LENOVO 20XW0055GE", "flags\t\t: fpu vme\n", "none"),
        ("", "", "none"),
    ],
)
def test_a_virtual_machine_shows_in_smbios_or_in_the_processor(named: str, cpuinfo: str, expected: str) -> None:
    assert virtual(named, cpuinfo) == expected


@pytest.mark.parametrize(
    ("environment", "marks", "expected"),
    [
        ("PATH=/bin\0container=lxc\0", set(), "lxc"),
        ("container=\0", {".dockerenv"}, "docker"),
        ("", {".containerenv", ".dockerenv"}, "podman"),
        ("container=$(reboot)\0", set(), "none"),
        ("", set(), "none"),
    ],
)
def test_a_container_shows_in_its_first_process_or_by_a_mark(environment: str, marks: set[str], expected: str) -> None:
    assert container_of(environment, marks) == expected


@pytest.mark.parametrize("word", ["none\n", "kvm\n", "microsoft\n", "systemd-nspawn\n"])
def test_systemd_names_what_it_detects(word: str) -> None:
    assert parse_detected(word) == word.strip()


@pytest.mark.parametrize("text", ["", "\0", "keine Ahnung", "x" * 100, "Failed to check: no\n"])
def test_another_answer_of_systemd_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_detected(text)


def test_the_start_of_the_system_is_in_the_statistics() -> None:
    assert parse_stat("cpu  1 2 3\nbtime 1795610680\nprocesses 5\n") == 1795610680
    for text in ("", "btime\n", "btime x\n", "xbtime 1\n", "\0"):
        with pytest.raises(Unreadable):
            parse_stat(text)


def test_a_machine_says_its_names_and_why_one_is_missing(tmp_path: Path) -> None:
    for name, text in (("sys_vendor", "LENOVO"), ("product_name", "20XW"), ("product_serial", "PF3ABCDE")):
        (tmp_path / name).write_text(text + "\n")
    facts = device.collect(now=1.0, dmi=tmp_path)
    assert set(facts) == set(device.FACTS)
    assert facts["device.serial"].value == "PF3ABCDE"
    assert "No such file" in str(facts["device.uuid"].absent)
    assert facts["device.booted_at"].value > 1_000_000_000
