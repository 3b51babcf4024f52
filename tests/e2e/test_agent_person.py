"""What a person is shown: the desktop, the doctor, the report of a fault, on the stage with everything real."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import notify
from agent.watch import dbus
from agent.watch.dbus import BusWatch
from gateway.demo.network import INTERNET_WIRE
from gateway.demo.stage import built
from tests.e2e.test_agent import WITHIN, Laptop, eventually, reached

SOMEBODY = 65534
"""nobody(5): any number but root's."""


@pytest.fixture(scope="module")
def laptop() -> Iterator[Laptop]:
    with built(lambda _: None) as stage:
        made = Laptop(stage)
        made.enrol()
        yield made
        made.end()


def test_doctor_finds_all_in_order_and_then_what_is_broken(laptop: Laptop) -> None:
    before = {seen["what"]: seen for seen in json.loads(laptop.call("doctor", "--json").stdout)}
    assert before["agent"]["fix"]
    assert all(
        before[name]["fix"] is None for name in ("tun", "programs", "wireguard", "dns", "gateway", "clock", "provider")
    )
    agent = reached(laptop)
    after = {seen["what"]: seen for seen in json.loads(laptop.call("doctor", "--json").stdout)}
    assert all(after[name]["fix"] is None for name in ("agent", "protection", "network", "packets", "mtu"))
    laptop.stage.network.gateway.run(
        "nft", "-f", "-", text="add table ip block\nadd chain ip block in { type filter hook input priority 0; }\n"
        "add rule ip block in udp dport 51820 drop\n",
    )  # fmt: skip
    try:
        done = laptop.call("doctor")
        assert done.returncode == 1
        assert "FAIL packets: none came back" in done.stdout
        assert laptop.status()["connected"] is False, "never connected when nothing flows"
        assert "no packet comes back" in laptop.call("status").stdout
    finally:
        laptop.stage.network.gateway.run("nft", "delete", "table", "ip", "block")
    eventually(lambda: laptop.status()["connected"], "connected again")
    agent.end()


def test_another_network_and_none_at_all_are_survived_without_a_person(laptop: Laptop) -> None:
    """Roaming: the address that everything began at is gone; then a network on which the gateway is not found for a while."""
    agent = reached(laptop)
    session = laptop.status()["verdict"]["session"]
    mark = agent.mark()
    laptop.host.ip("address", "flush", "dev", INTERNET_WIRE, "scope", "global")
    laptop.host.ip("address", "add", "198.51.100.8/24", "dev", INTERNET_WIRE)
    try:
        agent.wait_for("on another network now", timeout=WITHIN, after=mark)
        laptop.arrives()
        eventually(lambda: laptop.status()["connected"], "connected")
        laptop.host.ip("link", "set", INTERNET_WIRE, "down")
        assert laptop.status()["connected"] is False
        laptop.host.ip("link", "set", INTERNET_WIRE, "up")
        laptop.arrives()
        eventually(lambda: laptop.status()["connected"], "connected")
        assert laptop.status()["verdict"]["session"] == session, "the same session, and nobody was asked to log in"
    finally:
        agent.end()
        laptop.host.ip("address", "flush", "dev", INTERNET_WIRE, "scope", "global")
        laptop.host.ip("address", "add", "198.51.100.7/24", "dev", INTERNET_WIRE)


def test_a_bug_report_of_a_real_machine_holds_no_key_and_no_token(laptop: Laptop, tmp_path: Path) -> None:
    agent = reached(laptop)
    private = Path(laptop.settings["SALLYPORT_AGENT_STATE_DIR"], "device.pem").read_text()
    done = laptop.call("bugreport", "--output", str(tmp_path / "report.txt"))
    assert done.returncode == 0, done
    text = (tmp_path / "report.txt").read_text()
    assert os.stat(tmp_path / "report.txt").st_mode & 0o077 == 0
    assert all(name in text for name in ("=== doctor", "=== ip rule", "sallyport-agent", "=== facts"))
    assert not any(line in text for line in private.splitlines() if len(line) > 20)
    again = laptop.call("bugreport", "--output", str(tmp_path / "report.txt"))
    assert again.returncode == 1
    assert "cannot be written" in again.stderr, "it replaces nothing"
    agent.end()


class Desktop:
    """Somebody's session bus with a notification service on it."""

    def __init__(self, folder: Path) -> None:
        self.users = folder
        home = folder / str(SOMEBODY)
        home.mkdir()
        os.chown(home, SOMEBODY, SOMEBODY)
        folder.chmod(0o755)
        self.bus = home / "bus"
        configuration = folder / "bus.conf"
        configuration.write_text(
            f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "x">
            <busconfig><type>session</type><listen>unix:path={self.bus}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/>
            <allow user="*"/></policy></busconfig>"""
        )
        self._daemon = subprocess.Popen(["dbus-daemon", f"--config-file={configuration}", "--nofork"])
        deadline = time.monotonic() + WITHIN
        while not self.bus.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.bus.chmod(0o777)
        self._service = BusWatch(self.bus)
        destination, path, interface = dbus.BUS
        named = {"path": path, "interface": interface, "member": "RequestName", "destination": destination}
        self._service._socket.setblocking(True)
        self._service._socket.settimeout(WITHIN)
        self._service._socket.sendall(dbus.message(dbus.CALL, 7, arguments=(notify.NOTIFICATIONS, 4), **named))

    def shown(self) -> bytes:
        """The next call of Notify, as it came."""
        said = b""
        deadline = time.monotonic() + WITHIN
        while b"Notify" not in said and time.monotonic() < deadline:
            said += self._service._socket.recv(1 << 16)
        return said

    def close(self) -> None:
        self._service.close()
        self._daemon.terminate()
        self._daemon.wait()


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    with tempfile.TemporaryDirectory() as name:  # where somebody else may look
        made = Desktop(Path(name))
        yield made
        made.close()


def test_a_desktop_shows_the_change_of_tier_with_the_fix(desktop: Desktop) -> None:
    if True:
        notify.tell(
            "Access: quarantine", "the firewall is off\nFix: sudo ufw enable", notify.CRITICAL, users=desktop.users
        )
        said = desktop.shown()
        for text in (b"sallyport", b"Access: quarantine", b"Fix: sudo ufw enable", b"urgency"):
            assert text in said
