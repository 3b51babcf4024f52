"""The collectors on real systems: rules in a namespace, a real clamd and an imitation, a PATH that lies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.collect import SLOW, Collection
from agent.collect.linux import antivirus, disk, firewall, patches
from agent.collect.reading import Unreadable, command, file
from agent.posture import Posture
from agent.wire import Fact
from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.demo.protection import Firewall, start_antivirus
from gateway.programs import Program

FACTS = Collection().facts


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("laptop", mark=f"{namespaces.owner_mark()}-collect")
    yield made
    made.remove()


def values(facts: dict[str, Fact]) -> dict[str, Any]:
    return {name: fact.value for name, fact in facts.items()}


# firewall


def rules(host: Host) -> dict[str, Any]:
    with host.entered():
        return values(firewall.collect(now=time.time()))


OPEN = {"firewall.enabled": False, "firewall.input_policy": "accept", "firewall.product": "none"}
CLOSED = {"firewall.enabled": True, "firewall.input_policy": "drop", "firewall.product": "nftables"}


def test_the_firewall_is_what_the_kernel_has_now(host: Host, tmp_path: Path) -> None:
    protection = Firewall(host, tmp_path)
    assert rules(host) == OPEN
    protection.load()
    assert rules(host) == CLOSED
    protection.flush()
    assert rules(host) == OPEN


def test_a_firewall_of_one_version_of_ip_protects_only_a_host_without_the_other(host: Host) -> None:
    host.run("nft", "-f", "-", text="table ip f { chain i { type filter hook input priority 0; policy drop;\n}\n}\n")
    host.ip("link", "add", "w", "type", "veth", "peer", "name", "v")
    for switches, protected in (({"all": 0}, False), ({"all": 1}, True), ({"w": 0}, False), ({"w": 1}, True)):
        for name, switch in switches.items():
            host.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6={switch}")
        assert rules(host)["firewall.enabled"] is protected, switches


def test_what_the_collector_says_is_what_packets_meet(host: Host) -> None:
    """Each ruleset is judged by the collector and by a real connection from another host."""
    other = Host.create("office", mark=f"{namespaces.owner_mark()}-collect")
    try:
        namespaces.ip("link", "add", "w", "netns", host.name, "type", "veth", "peer", "name", "w", "netns", other.name)
        for number, end in ((1, host), (2, other)):
            end.ip("address", "add", f"192.0.2.{number}/24", "dev", "w")
            end.ip("link", "set", "w", "up")
        with host.entered(), socket.create_server(("192.0.2.1", 4711)):
            for text in RULESETS:
                host.run("nft", "flush", "ruleset")
                host.run("nft", "-f", "-", text=text)
                assert rules(host)["firewall.enabled"] is not reachable(other), text
    finally:
        other.remove()


def ruleset(policy: str, *lines: str, more: str = "", flags: str = "") -> str:
    head = f"table inet f {{\n{flags}\n{more}\nchain input {{\ntype filter hook input priority 0; policy {policy};\n"
    return head + "\n".join(lines) + "\n}\n}\n"


RULESETS = [
    "table inet f { }\n",
    ruleset("accept"),
    ruleset("drop"),
    ruleset("drop", "ct state established accept", "tcp dport 22 accept"),
    ruleset("drop", "ct state new accept"),
    ruleset("accept", "iif lo accept", "ct state established accept", "counter drop"),
    ruleset("accept", "ct state established accept", "reject"),
    ruleset("drop", "meta mark set 1 accept"),
    ruleset("accept", "meta mark set 1 drop"),
    ruleset("drop", "jump a", more="chain a {\ntcp dport 22 return\naccept\n}"),
    ruleset("accept", "jump a", "accept", more="chain a {\ndrop\n}"),
    ruleset("accept", "jump a", more="chain a {\nreturn\ndrop\n}"),
    ruleset("accept", "jump a", more="chain a {\ntcp dport 4711 return\ndrop\n}"),
    ruleset("accept", "goto a", "drop", more="chain a {\ntcp dport 22 accept\n}"),
    ruleset("drop", flags="flags dormant"),
    ruleset("accept", "meta nfproto ipv4 drop", "meta nfproto ipv6 drop"),
]


def reachable(host: Host) -> bool:
    with host.entered():
        probe = socket.socket()
        probe.settimeout(0.3)
        try:
            probe.connect(("192.0.2.1", 4711))
        except OSError:
            return False
        finally:
            probe.close()
        return True


# antivirus


@pytest.fixture
def clamd(host: Host, tmp_path: Path) -> Iterator[tuple[Program, Path]]:
    program, path = start_antivirus(host, tmp_path)
    yield program, path
    program.signal(signal.SIGCONT)
    program.end()


def protection(path: Path) -> dict[str, Any]:
    return values(antivirus.collect([Path("/nowhere/clamd.sock"), path], now=time.time()))


def test_a_clamd_that_answers_runs(clamd: tuple[Program, Path]) -> None:
    found = protection(clamd[1])
    assert (found["antivirus.product"], found["antivirus.running"]) == ("clamav", True)
    assert antivirus.process(clamd[1]) == clamd[0].pid


def test_a_clamd_that_is_stopped_does_not_run_and_one_that_goes_on_does(clamd: tuple[Program, Path]) -> None:
    program, path = clamd
    program.signal(signal.SIGSTOP)
    assert protection(path)["antivirus.running"] is False
    program.signal(signal.SIGCONT)
    assert protection(path)["antivirus.running"] is True


def test_a_clamd_that_was_killed_does_not_run_though_its_socket_is_still_there(clamd: tuple[Program, Path]) -> None:
    program, path = clamd
    program.kill()
    program.end()
    assert path.exists()
    found = antivirus.collect([path], now=time.time())
    assert found["antivirus.running"].value is False
    assert "refused" in found["antivirus.running"].source


def test_without_any_clamd_nothing_protects() -> None:
    found = antivirus.collect([Path("/nowhere/clamd.sock")], now=time.time())
    assert found["antivirus.running"].value is False
    assert found["antivirus.product"].absent == "no clamd socket was found"


IMITATION = """
import ctypes, socket, sys
if sys.argv[2] == "renamed":
    ctypes.CDLL(None).prctl(15, b"clamd", 0, 0, 0)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    asked = connection.recv(100)
    connection.sendall(b"PONG\\0" if b"PING" in asked else b"ClamAV 1.4.6/27400/Thu Nov 19 02:40:37 2026\\0")
    connection.close()
"""


@pytest.mark.parametrize("name", ["plain", "renamed"])
def test_what_only_answers_like_clamd_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clamd.sock"
    imitation = Program("imitation", [sys.executable, "-c", IMITATION, str(path), name])
    try:
        imitation.wait_for("ready", timeout=20)
        found = antivirus.collect([path], now=time.time())
        assert found["antivirus.running"].value is False
        assert "no clamd" in found["antivirus.running"].source
        assert found["antivirus.signatures_version"].value is None
    finally:
        imitation.end()


def test_a_real_clamd_is_found_behind_an_imitation(clamd: tuple[Program, Path], tmp_path: Path) -> None:
    path = tmp_path / "imitation.sock"
    imitation = Program("imitation", [sys.executable, "-c", IMITATION, str(path), "plain"])
    try:
        imitation.wait_for("ready", timeout=20)
        assert values(antivirus.collect([path, clamd[1]], now=time.time()))["antivirus.running"] is True
    finally:
        imitation.end()


def answering(path: Path, answer: Callable[[socket.socket], None]) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with contextlib.suppress(OSError):
                    answer(connection)
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize("answer", [b"", b"\0", b"UNKNOWN COMMAND\0", b"PON", b"\xff\xfe\0", b"PONG\n" * 100_000])
def test_another_answer_is_no_clamd(tmp_path: Path, answer: bytes) -> None:
    listener = answering(tmp_path / "s", lambda connection: connection.sendall(answer))
    assert protection(tmp_path / "s")["antivirus.running"] is False
    listener.close()


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(tmp_path: Path) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.2):
            connection.sendall(b"P")

    listener = answering(tmp_path / "s", drip)
    began = time.monotonic()
    assert protection(tmp_path / "s")["antivirus.running"] is False
    assert time.monotonic() - began < 60
    stop.set()
    listener.close()


# disk and patches of this machine


def test_the_disks_of_this_machine_are_read_to_an_answer_or_a_reason() -> None:
    found = disk.collect(now=time.time())
    assert set(found) == set(disk.FACTS)
    for fact in found.values():
        assert fact.value is not None or fact.absent
    chain = found["disk.chain"]
    if chain.value is not None:
        assert found["disk.root_encrypted"].value is ("crypt" in chain.value)


def test_the_updates_of_this_machine_are_those_that_apt_counts() -> None:
    pending = values(patches.collect(now=time.time()))
    assert pending["patches.lists_updated_at"] <= time.time()
    assert pending["patches.installed_at"] <= time.time()
    done = subprocess.run(
        ["apt-get", "--simulate", "upgrade", "--with-new-pkgs"], capture_output=True, text=True, check=True
    )
    assert pending["patches.pending"] == sum(line.startswith("Inst ") for line in done.stdout.splitlines())
    assert pending["patches.security_pending"] <= pending["patches.pending"]


# commands


PROGRAMS = (
    *("nft", "apt-get", "apt-config", "nice", "findmnt", "lsblk", "iptables-legacy", "ip6tables-legacy", "dnf", "zfs"),
    *(
        "zypper",
        "pacman",
        "apk",
        "needrestart",
        "rpm",
        "systemd-detect-virt",
        "loginctl",
        "busctl",
        "gsettings",
        "nmcli",
    ),
    *("realm", "getent", "systemctl", "dpkg-query", "dmsetup"),
)


@pytest.fixture
def lying_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH whose programs say that all is well, and leave a mark when they run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/lied\necho '0 upgraded, 0 newly installed, 0 to remove'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "lied"


def test_a_path_that_lies_changes_neither_commands_nor_facts(lying_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lied = steady(Collection().everything(now=time.time()))
    assert not lying_path.exists()
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    assert steady(Collection().everything(now=time.time())) == lied


def steady(facts: dict[str, Fact]) -> dict[str, Any]:
    """The values without those that other programs of this machine change from one moment to the next."""
    restless = ("processes.", "network.listening", "patches.services_to_restart")
    return {name: value for name, value in values(facts).items() if not name.startswith(restless)}


def test_such_a_path_does_deceive_whoever_uses_it(lying_path: Path) -> None:
    subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=True)
    assert lying_path.exists()


def test_neither_language_nor_preloads_of_the_user_reach_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LANGUAGE", "LD_PRELOAD", "LD_LIBRARY_PATH", "APT_CONFIG", "PYTHONPATH"):
        monkeypatch.setenv(name, "/nonexistent")
    assert set(command("env").splitlines()) <= {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C",
        "LANGUAGE=C",
        "HOME=/nonexistent",
        "PWD=/",
    }


def test_the_switches_of_the_kernel_can_be_read() -> None:
    assert file("/proc/sys/kernel/ostype") == "Linux\n"
    assert file("/proc/swaps").startswith("Filename")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("sallyport-does-not-exist",), "is not installed"),
        (("sh", "-c", "echo no such thing >&2; exit 3"), "no such thing"),
        (("false",), "status 1"),
        (("sh", "-c", "kill -9 $$"), "status -9"),
        (("head", "-c", "20000000", "/dev/zero"), "more than"),
        (("/proc",), "/proc"),
    ],
)
def test_a_command_that_fails_says_why(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        command(*words)


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Unreadable, match="timed out"):
        command("sleep", "60", timeout=0.2)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        file(tmp_path / "missing")
    with pytest.raises(Unreadable, match="Is a directory"):
        file(tmp_path)
    (tmp_path / "large").write_bytes(bytes(11 << 20))
    with pytest.raises(Unreadable, match="more than"):
        file(tmp_path / "large")


# everything


def test_report_print_prints_every_fact_with_its_value_or_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "report", "--print"],
        env={**os.environ, "SALLYPORT_AGENT_STATE_DIR": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(done.stdout)
    assert set(printed) == FACTS
    for name, members in printed.items():
        fact = Fact.from_json(members)
        assert (fact.value is None) == (fact.absent is not None), name
        assert fact.source
    assert not (tmp_path / "none").exists()


def test_posture_tells_news_from_the_same_again() -> None:
    handed: list[tuple[str, dict[str, Fact]]] = []
    arrived = threading.Semaphore(0)

    def hand_in(name: str, facts: dict[str, Fact]) -> None:
        handed.append((name, facts))
        arrived.release()

    posture = Posture(Collection(), hand_in)
    assert not posture.complete
    assert posture.everything()
    for number in range(len(SLOW)):
        assert not posture.complete
        assert arrived.acquire(timeout=120)
        assert posture.finished(*handed[number]) is (handed[number][1] != {})
    assert posture.complete
    assert set(posture.facts) == FACTS
    assert not posture.refresh(["system", "agent", "login"])
    before = posture.facts["os.kernel"].observed_at
    time.sleep(0.01)
    assert not posture.refresh(["system"])
    assert posture.facts["os.kernel"].observed_at > before


def test_a_change_while_a_slow_collector_works_makes_it_work_once_more() -> None:
    handed: list[dict[str, Fact]] = []
    more = threading.Semaphore(0)

    def hand_in(name: str, facts: dict[str, Fact]) -> None:
        handed.append(facts)
        more.release()

    posture = Posture(Collection(), hand_in)
    for _ in range(5):
        posture.refresh(["patches"])
    assert more.acquire(timeout=120)
    posture.finished("patches", handed[0])
    assert more.acquire(timeout=120)
    posture.finished("patches", handed[1])
    assert not more.acquire(timeout=0.5)
    assert len(handed) == 2
