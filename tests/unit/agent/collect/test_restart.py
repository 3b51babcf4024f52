"""What needs a restart: another kernel, and programs that run code which an update has replaced."""

from __future__ import annotations

import pytest

from agent.collect.linux.restart import newer_kernel, parse_maps, parse_needrestart, parse_rpm_times, stale, unit_of
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import recorded


@pytest.mark.parametrize(
    ("name", "kernel", "services"),
    [
        ("needrestart-debian-12.txt", False, set()),
        ("needrestart-ubuntu-24.04.txt", True, {"dbus.service", "ssh.service", "systemd-logind.service"}),
    ],
)
def test_needrestart_names_the_kernel_and_the_services(name: str, kernel: bool, services: set[str]) -> None:
    assert parse_needrestart(recorded(f"restart/{name}")) == (kernel, services)


@pytest.mark.parametrize("text", ["", "\0", "Scanning processes...\n", "NEEDRESTART-KSTA: 3", "{}", "x" * (10 << 20)])
def test_another_answer_of_needrestart_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_needrestart(text)


KERNELS = [  # running, installed, whether a newer one waits
    ("6.1.0-28-amd64", ["6.1.0-28-amd64"], False),  # Debian 12
    ("6.1.0-25-amd64", ["6.1.0-25-amd64", "6.1.0-28-amd64"], True),
    ("6.12.9+bpo-amd64", ["6.1.0-28-amd64", "6.12.9+bpo-amd64"], False),
    ("6.12.57+deb13-amd64", ["6.12.48+deb13-amd64", "6.12.57+deb13-amd64"], False),  # Debian 13
    ("6.12.48+deb13-amd64", ["6.12.48+deb13-amd64", "6.12.57+deb13-amd64"], True),
    ("5.15.0-125-generic", ["5.15.0-125-generic", "5.15.0-126-generic"], True),  # Ubuntu 22.04
    ("6.8.0-49-generic", ["6.8.0-45-generic", "6.8.0-49-generic"], False),  # Ubuntu 24.04
    ("6.8.0-49-generic", ["6.8.0-49-generic", "6.11.0-1001-oem"], False),
    ("6.17.4-300.fc43.x86_64", ["6.17.4-300.fc43.x86_64", "6.17.8-300.fc43.x86_64"], True),  # Fedora
    ("5.14.0-503.11.1.el9_5.x86_64", ["5.14.0-427.13.1.el9_4.x86_64", "5.14.0-503.11.1.el9_5.x86_64"], False),  # RHEL 9
    ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.13.1.el9_4.x86_64", "5.14.0-503.11.1.el9_5.x86_64"], True),
    ("6.11.5-arch1-1", ["6.11.9-arch1-1"], True),  # Arch: the old one's modules are gone
    ("6.4.0-150600.23.25-default", ["6.4.0-150600.23.25-default", "6.4.0-150600.23.30-default"], True),  # openSUSE
    ("6.6.56-0-lts", ["6.6.56-0-lts"], False),  # Alpine
    ("6.18.44-fc-v595", [], False),  # a kernel from outside
]


@pytest.mark.parametrize(("running", "installed", "waits"), KERNELS)
def test_a_newer_kernel_of_the_same_kind_wants_a_restart(running: str, installed: list[str], waits: bool) -> None:
    assert newer_kernel(running, installed) is waits


MAPS = b"""55d0c8a00000-55d0c8a2b000 r--p 00000000 fe:00 1312 /usr/sbin/sshd
7f6a3c000000-7f6a3c155000 r-xp 00028000 fe:00 2711 /usr/lib/x86_64-linux-gnu/libc.so.6
7ffd1b5e1000-7ffd1b5e3000 r-xp 00000000 00:00 0 [vdso]
"""


@pytest.mark.parametrize(
    ("line", "stale"),
    [
        (b"7f6a3c000000-7f6a3c155000 r-xp 00028000 fe:00 2711 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n", True),
        (b"7f6a3c000000-7f6a3c155000 r-xp 00028000 fe:00 2711 /usr/sbin/sshd (deleted)\n", True),
        (b"7f6a3c000000-7f6a3c155000 r--p 00028000 fe:00 2711 /usr/lib/locale/C.utf8/LC_CTYPE (deleted)\n", False),
        (b"7f6a3c000000-7f6a3c155000 r-xp 00000000 00:01 2 /memfd:jit (deleted)\n", False),
        (b"7f6a3c000000-7f6a3c155000 r-xp 00000000 00:01 2 /tmp/pulse-1234 (deleted)\n", False),
        (b"", False),
    ],
)
def test_code_whose_file_is_gone_is_old(line: bytes, stale: bool) -> None:
    assert parse_maps(MAPS + line) is stale


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/pipewire.service\n", "user@1000.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", None),
        ("12:cpu:/\n1:name=systemd:/system.slice/cron.service\n", "cron.service"),
        ("", None),
        ("\0", None),
    ],
)
def test_a_process_belongs_to_the_service_of_its_group(text: str, unit: str | None) -> None:
    assert unit_of(text) == unit


def test_rpm_tells_when_what_was_installed() -> None:
    assert list(parse_rpm_times(recorded("restart/rpm-installtime.txt"))) == ["alpha"]
    assert parse_rpm_times("") == parse_rpm_times("\0" * 100) == parse_rpm_times("kein Paket\n") == {}


def test_the_processes_of_this_machine_can_be_looked_at() -> None:
    assert all(isinstance(name, str) and name for name in stale())
