"""The watchers at real events: told when something changed, and silent when nothing did."""

from __future__ import annotations

import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.collect.linux import firewall
from agent.watch import Watch, Watches, dbus
from agent.watch.dbus import BusWatch
from agent.watch.files import FileWatch
from agent.watch.netlink import DiskWatch, FirewallWatch, NetworkWatch
from agent.watch.process import ProcessWatch
from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.demo.protection import Firewall, start_antivirus

WITHIN = 10.0
QUIET = 0.3


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("laptop", mark=f"{namespaces.owner_mark()}-watch")
    yield made
    made.remove()


def told(watch: Watch, within: float = WITHIN) -> bool:
    """Whether the watcher tells of a change in time."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        if select.select([watch], [], [], left)[0] and watch.drain():
            return True
    return False


# rules


@pytest.fixture
def rules(host: Host) -> Iterator[FirewallWatch]:
    with host.entered():
        made = FirewallWatch()
    yield made
    made.close()


def test_every_change_of_the_rules_is_told(host: Host, rules: FirewallWatch, tmp_path: Path) -> None:
    protection = Firewall(host, tmp_path)
    for change in (protection.load, protection.flush):
        change()
        assert told(rules)
        assert not told(rules, QUIET)
    host.run("nft", "add", "table", "inet", "t")
    assert told(rules)
    host.run("nft", "add chain inet t c { type filter hook input priority 0; policy drop; }")
    assert told(rules)
    host.run("nft", "delete", "table", "inet", "t")
    assert told(rules)


def test_reading_the_rules_is_no_change(host: Host, rules: FirewallWatch) -> None:
    with host.entered():
        firewall.collect(now=time.time())
    assert not told(rules, QUIET)


def test_rules_of_another_host_are_none_of_ours(rules: FirewallWatch, tmp_path: Path) -> None:
    other = Host.create("office", mark=f"{namespaces.owner_mark()}-watch")
    try:
        Firewall(other, tmp_path).load()
        assert not told(rules, QUIET)
    finally:
        other.remove()


def test_more_changes_than_fit_are_still_a_change(host: Host, rules: FirewallWatch) -> None:
    lines = "".join(f"add table inet t{number}\nadd chain inet t{number} c\n" for number in range(3000))
    host.run("nft", "-f", "-", text=lines)
    assert told(rules)
    assert not told(rules, QUIET)
    host.run("nft", "flush", "ruleset")
    assert told(rules)


# processes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_a_process_is_told_and_nothing_before(number: signal.Signals) -> None:
    process = subprocess.Popen(["sleep", "600"])
    watch = ProcessWatch(process.pid)
    assert not told(watch, QUIET)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)
    assert not told(watch, QUIET)
    process.send_signal(number)
    assert told(watch)
    process.wait()
    assert told(watch), "it goes on having ended"
    watch.close()


def test_a_process_that_is_gone_cannot_be_watched() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessLookupError):
        ProcessWatch(process.pid)


# files


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[FileWatch]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "signatures").mkdir()
    (tmp_path / "etc" / "os-release").write_text("ID=debian\n")
    made = FileWatch(
        {
            "system": [tmp_path / "etc" / "os-release", tmp_path / "nowhere" / "os-release"],
            "antivirus": [tmp_path / "signatures"],
            "patches": [tmp_path / "etc" / "stamp"],
        }
    )
    yield made
    made.close()


def test_a_file_that_is_written_replaced_removed_or_made_again_is_told(watched: FileWatch, tmp_path: Path) -> None:
    release = tmp_path / "etc" / "os-release"
    fresh = tmp_path / "etc" / "os-release.new"
    for change in (
        lambda: release.write_text("ID=ubuntu\n"),
        lambda: (fresh.write_text("ID=fedora\n"), fresh.replace(release)),
        release.unlink,
        lambda: release.write_text("ID=debian\n"),
        lambda: release.rename(tmp_path / "away"),
    ):
        change()  # type: ignore[no-untyped-call]
        assert told(watched)
        assert watched.concerns == {"system"}
        assert not told(watched, QUIET)


def test_a_file_that_appears_concerns_whoever_waits_for_it(watched: FileWatch, tmp_path: Path) -> None:
    (tmp_path / "etc" / "stamp").touch()
    assert told(watched)
    assert watched.concerns == {"patches"}


def test_every_file_of_a_watched_folder_counts(watched: FileWatch, tmp_path: Path) -> None:
    (tmp_path / "signatures" / "daily.cld").write_text("x")
    assert told(watched)
    assert watched.concerns == {"antivirus"}


def test_reading_other_files_and_files_beside_are_no_change(watched: FileWatch, tmp_path: Path) -> None:
    (tmp_path / "etc" / "os-release").read_text()
    (tmp_path / "etc" / "hosts").write_text("x")
    (tmp_path / "etc" / "os-release.bak").write_text("x")
    list((tmp_path / "signatures").iterdir())
    assert not told(watched, QUIET)


def test_more_changes_than_fit_may_concern_everybody(watched: FileWatch, tmp_path: Path) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [tmp_path / "etc" / name for name in ("one", "two")]
    for number in range(queue):
        names[number % 2].write_bytes(b"")  # events that are alike and follow each other are told once
    (tmp_path / "etc" / "os-release").write_text("ID=ubuntu\n")
    assert told(watched)
    assert watched.concerns >= {"system", "antivirus", "patches"}


# together


def test_the_agents_watches_tell_which_collectors_to_ask(host: Host, tmp_path: Path) -> None:
    clamd, path = start_antivirus(host, tmp_path)
    login = tmp_path / "enrolment.json"
    try:
        with host.entered():
            watches = Watches([path], login=login)
        assert [line for line in watches.missing if "bus" not in line] == []
        assert heard(watches, QUIET) == set()
        Firewall(host, tmp_path).load()
        assert heard(watches) == {"firewall"}
        login.write_text("{}")
        assert "login" in heard(watches)
        drained(watches)
        clamd.kill()
        assert "antivirus" in heard(watches)
        clamd.end()
        watches.follow_antivirus()
        drained(watches)
        assert heard(watches, QUIET) == set(), "what has ended is not watched any more"
        path.unlink()
        assert heard(watches) == {"antivirus"}
    finally:
        watches.close()
        clamd.end()


def test_a_clamd_that_starts_again_is_followed_again(host: Host, tmp_path: Path) -> None:
    first, path = start_antivirus(host, tmp_path)
    watches = Watches([path], login=tmp_path / "enrolment.json")
    try:
        first.end()
        assert "antivirus" in heard(watches)
        watches.follow_antivirus()
        path.unlink(missing_ok=True)
        (tmp_path / "again").mkdir()
        second, other = start_antivirus(host, tmp_path / "again")
        path.symlink_to(other)
        watches.follow_antivirus()
        drained(watches)
        second.kill()
        assert "antivirus" in heard(watches)
        second.end()
    finally:
        watches.close()
        first.end()


def test_another_descriptor_is_waited_for_too(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"])
    watch = ProcessWatch(process.pid)
    called: list[int] = []
    watches = Watches([], login=tmp_path / "enrolment.json")
    watches.add(watch.fileno(), lambda: called.append(1))
    process.kill()
    process.wait()
    assert watches.wait(WITHIN) == frozenset()
    assert called == [1]
    watches.close()
    watch.close()


def heard(watches: Watches, within: float = WITHIN) -> set[str]:
    """Which collectors are concerned by the first change in time."""
    deadline = time.monotonic() + within
    found: frozenset[str] = frozenset()
    while not found and (left := deadline - time.monotonic()) > 0:
        found = watches.wait(left)
    return set(found)


def drained(watches: Watches) -> None:
    """Take everything that has been told until now."""
    while heard(watches, QUIET):
        pass


# links, addresses and routes; disks


def test_links_addresses_and_routes_are_told(host: Host) -> None:
    with host.entered():
        watch = NetworkWatch()
    try:
        for change in (
            ("link", "add", "w0", "type", "veth", "peer", "name", "w1"),
            ("link", "set", "w0", "up"),
            ("address", "add", "192.0.2.1/24", "dev", "w0"),
            ("route", "add", "198.51.100.0/24", "via", "192.0.2.2"),
            ("-6", "route", "add", "unreachable", "2001:db8::/32"),
            ("link", "del", "w0"),
        ):
            host.ip(*change)
            assert told(watch), change
            while told(watch, QUIET):
                pass
    finally:
        watch.close()


def test_a_disk_that_comes_or_goes_is_told(tmp_path: Path) -> None:
    watch = DiskWatch()
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    try:
        device = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout
        assert told(watch)
        subprocess.run(["losetup", "-d", device.strip()], check=True)
        assert told(watch)
        assert watch.concerns == {"disk"}
    finally:
        watch.close()


# the system bus


class SystemBus:
    """A real dbus-daemon, and somebody on it who may call himself systemd or logind."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bus"
        configuration = folder / "bus.conf"
        configuration.write_text(
            f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "x">
            <busconfig><type>system</type><listen>unix:path={self.path}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*"/><allow eavesdrop="false"/><allow own="*"/>
            <allow user="*"/></policy></busconfig>"""
        )
        self._daemon = subprocess.Popen(["dbus-daemon", f"--config-file={configuration}", "--nofork"])
        deadline = time.monotonic() + WITHIN
        while not self.path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self._speaker = BusWatch(self.path)
        for name in ("org.freedesktop.systemd1", "org.freedesktop.login1"):
            destination, path, interface = dbus.BUS
            named = {"path": path, "interface": interface, "member": "RequestName", "destination": destination}
            self._speaker._socket.sendall(dbus.message(dbus.CALL, 7, arguments=(name, 4), **named))

    def signal(self, path: str, interface: str, member: str, *texts: str) -> None:
        self._speaker._socket.sendall(
            dbus.message(dbus.SIGNAL, 99, path=path, interface=interface, member=member, arguments=texts)
        )

    def stop(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()

    def close(self) -> None:
        self._speaker.close()
        self.stop()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SystemBus]:
    made = SystemBus(tmp_path)
    yield made
    made.close()


def test_services_and_screens_are_told_and_other_news_is_not(bus: SystemBus) -> None:
    watch = BusWatch(bus.path)
    try:
        while told(watch, QUIET):
            pass
        removed = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved")
        for unit, concerned in (("nftables.service", "firewall"), ("clamav-daemon.service", "antivirus")):
            bus.signal(*removed, "", "", unit, "done")
            assert told(watch)
            assert watch.concerns == {concerned}
        bus.signal(*removed, "", "", "cron.service", "done")
        assert not told(watch, QUIET)
        session = "/org/freedesktop/login1/session/_32"
        bus.signal(session, "org.freedesktop.DBus.Properties", "PropertiesChanged", "org.freedesktop.login1.Session")
        assert told(watch)
        assert watch.concerns == {"screen"}
    finally:
        watch.close()


def test_a_bus_that_goes_away_is_said_and_polled_instead(bus: SystemBus, tmp_path: Path) -> None:
    watches = Watches([], login=tmp_path / "enrolment.json", bus=bus.path)
    try:
        assert watches.missing == []
        bus.stop()
        deadline = time.monotonic() + WITHIN
        while not watches.missing and time.monotonic() < deadline:
            watches.wait(0.1)
        assert "every heartbeat looks instead" in watches.missing[0]
        assert watches.polled >= {"antivirus", "firewall", "screen"}
        assert watches.wait(QUIET) == frozenset(), "what is gone does not wake anybody"
    finally:
        watches.close()


def test_a_machine_without_a_bus_is_polled(tmp_path: Path) -> None:
    watches = Watches([], login=tmp_path / "enrolment.json", bus=tmp_path / "nowhere")
    assert [line.partition(" (")[0] for line in watches.missing] == ["system bus"]
    assert watches.polled == {"screen"}
    watches.close()
