"""The systemd units: what they grant, that they are true to the code, and that systemd itself finds nothing wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.__main__ import COMMANDS
from gateway.settings import Settings
from gateway.tunnel.control import DIRECTORY
from gateway.tunnel.timestamps import DEFAULT_FOLDER

FOLDER = Path(__file__).parents[3] / "gateway" / "systemd"
UNITS = sorted(each.name for each in FOLDER.glob("*.service"))
INSTALLED = "/opt/sallyport/bin/sallyport"
SETUP, TUNNEL, SERVE = "sallyport-setup-host.service", "sallyport-tunnel.service", "sallyport-serve.service"


def read(unit: str) -> dict[str, list[str]]:
    """Every key with all of its values."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_the_units_are_three() -> None:
    assert sorted([SETUP, TUNNEL, SERVE]) == UNITS


@pytest.mark.parametrize("unit", [TUNNEL, SERVE])
def test_what_serves_strangers_has_no_capability_and_cannot_get_one(unit: str) -> None:
    told = read(unit)
    assert told["User"] == told["Group"] == ["sallyport"]
    assert told["CapabilityBoundingSet"] == told["AmbientCapabilities"] == [""]
    assert told["NoNewPrivileges"] == ["yes"]
    assert any(line.startswith("~@privileged") for line in told["SystemCallFilter"])


def test_root_makes_the_interface_with_two_capabilities_and_can_undo_it() -> None:
    told = read(SETUP)
    assert "User" not in told
    assert told["CapabilityBoundingSet"] == ["CAP_NET_ADMIN CAP_CHOWN"]
    assert told["ExecStart"] == [f"{INSTALLED} setup-host --user sallyport"]
    assert told["ExecStop"] == [f"{INSTALLED} setup-host --undo"]
    assert read(TUNNEL)["Requires"] == [SETUP] == read(TUNNEL)["After"]


def test_only_those_that_need_the_tun_get_it_and_no_other_device() -> None:
    for unit in (SETUP, TUNNEL):
        assert read(unit)["DeviceAllow"] == ["/dev/net/tun rw"]
        assert read(unit)["DevicePolicy"] == ["closed"]
    assert read(SERVE)["PrivateDevices"] == ["yes"]


def test_the_tunnel_writes_its_socket_and_its_timestamps_and_nothing_else() -> None:
    told = read(TUNNEL)
    assert told["ProtectSystem"] == ["strict"]
    assert [Path(each) for each in told["ReadWritePaths"]] == [Path("/run") / DIRECTORY.name]
    assert [Path("/var/lib") / each for each in told["StateDirectory"]] == [DEFAULT_FOLDER]
    assert [Path("/var/lib") / each for each in read(SERVE)["StateDirectory"]] == [
        Settings.from_environment({}).state_dir
    ]


def test_the_tunnel_is_told_no_secret_of_the_gateway() -> None:
    for unit in (SETUP, TUNNEL):
        assert read(unit)["EnvironmentFile"] == ["-/etc/sallyport/tunnel.env"]


@pytest.mark.parametrize("unit", UNITS)
def test_the_commands_exist(unit: str) -> None:
    for line in (*read(unit)["ExecStart"], *read(unit).get("ExecStop", [])):
        program, command, *_ = line.split()
        assert program == INSTALLED
        assert command in COMMANDS


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that is really there."""
    for unit in UNITS:
        text = (FOLDER / unit).read_text().replace(INSTALLED, str(Path(sys.executable).with_name("sallyport")))
        (tmp_path / unit).write_text(text)
    return tmp_path


def test_systemd_finds_nothing_to_complain_about(installed: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", *(str(installed / unit) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("unit", "most"), [(TUNNEL, 2.0), (SERVE, 1.5), (SETUP, 3.0)])
def test_systemd_rates_the_exposure_as_low(installed: Path, unit: str, most: float) -> None:
    """0 is nothing at all, 10 a program of root without any restriction."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(installed / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    rated = re.search(rf"exposure level for {unit}: ([\d.]+)", done.stdout)
    assert rated is not None, done.stderr
    assert float(rated[1]) <= most
