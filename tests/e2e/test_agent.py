"""The agent among the real programs: it outlives the gateway, dies cleanly, leaves in order and never boasts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.administrator import Administrator
from gateway.demo.employee import AGENT
from gateway.demo.network import PAYROLL, SERVERS, WIKI
from gateway.demo.stage import PORT, PROVIDER_PORT, TUNNEL_PORT, URL, Stage, built, wait_for
from gateway.demo.traffic import Probes
from gateway.errors import HostError
from gateway.programs import Program
from gateway.settings import without_settings

WITHIN = 60.0


class Laptop:
    """The stage with alice enrolled, and agents that are started and ended as a test says."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.host = stage.network.laptop
        self.interface = stage.employee.interface
        self.settings: dict[str, str] = dict(stage.employee._settings)
        self._programs: list[Program] = []
        self._probes: Probes | None = None

    def run(self, *arguments: str, interface: str | None = None, **settings: str) -> Program:
        """`sallyport-agent run`."""
        command = [*AGENT, "run", "--interface", interface or self.interface, *arguments]
        return self.start("agent", command, {**self.settings, **settings, "PYTHONUNBUFFERED": "1"})

    def start(self, name: str, command: list[str], settings: dict[str, str]) -> Program:
        program = Program(
            name,
            command,
            environment=settings,
            inherited=without_settings(),
            within=self.host.command(),
            orphaned=signal.SIGTERM,
        )
        self._programs.append(program)
        return program

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One short command of the agent, to its end."""
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        command = self.host.command("env", *settings, *AGENT, *arguments)
        return subprocess.run(command, env=without_settings(), capture_output=True, text=True, timeout=60, check=False)

    def enrol(self) -> None:
        self.stage.employee.enrol(URL, self.stage.authority, "alice")

    def log_in(self) -> None:
        """`sallyport-agent login`, with a browser."""
        program = self.start("login", [*AGENT, "login", "--no-browser"], {**self.settings, "PYTHONUNBUFFERED": "1"})
        url = program.wait_for(r"open this address to log in: (\S+)", timeout=WITHIN)[1]
        self.stage.employee._browse(url, self.stage.authority, "alice")
        program.wait_for("this machine is enrolled", timeout=WITHIN)
        program.end()

    def send(self) -> None:
        """Send probes to every server from now on."""
        if self._probes is None:
            self._probes = Probes(self.host, SERVERS)

    def arrives(self, server: str = PAYROLL) -> None:
        """Wait until a probe that is sent from now on arrives."""
        self.send()
        self.stage.first_probe(server, after=time.time(), within=WITHIN)

    def status(self) -> dict[str, Any]:
        """`status --json`; its exit status says the same."""
        done = self.call("status", "--json")
        said: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode == 0) is bool(said.get("connected")), done
        return said

    def interfaces(self) -> set[str]:
        return {line.split(":")[1].strip().partition("@")[0] for line in self.host.ip("-o", "link").splitlines()}

    def clean(self) -> bool:
        return self.interface not in self.interfaces()

    def end(self) -> None:
        if self._probes is not None:
            self._probes.close()
        for program in self._programs:
            program.signal(signal.SIGCONT)
            program.end()


def eventually(look: Callable[[], object], what: str, *, within: float = WITHIN) -> None:
    wait_for(lambda: 1.0 if look() else None, within=within, what=what)


@pytest.fixture(scope="module")
def shared() -> Iterator[Laptop]:
    """One stage for all tests that leave it as they found it."""
    with built(lambda _: None) as stage:
        laptop = Laptop(stage)
        laptop.enrol()
        yield laptop
        laptop.end()


@pytest.fixture
def laptop(shared: Laptop) -> Iterator[Laptop]:
    yield shared
    for program in shared._programs:
        program.signal(signal.SIGCONT)
        program.end()
    shared._programs.clear()
    eventually(shared.clean, "the end of the interface")


@pytest.fixture
def administrator(shared: Laptop) -> Iterator[Administrator]:
    made = Administrator(shared.stage.network.gateway, URL, shared.stage.authority, "carol")
    yield made
    made.close()


def reached(laptop: Laptop, *arguments: str) -> Program:
    """An agent with tier full whose packets arrive."""
    agent = laptop.run(*arguments)
    agent.wait_for(r"^tier full", timeout=WITHIN)
    laptop.arrives()
    eventually(lambda: laptop.status()["connected"], "connected")
    return agent


# without an agent, and with wrong words


def test_without_an_agent_the_status_says_so(laptop: Laptop) -> None:
    done = laptop.call("status")
    assert done.returncode == 1
    assert "not running" in done.stdout
    assert laptop.status() == {"state": "stopped", "connected": False}


def test_a_backend_that_does_not_exist_is_one_clear_error(laptop: Laptop) -> None:
    done = laptop.call("run", "--backend", "openvpn")
    assert done.returncode == 2
    assert "invalid choice: 'openvpn'" in done.stderr
    assert "kernel" in done.stderr


def test_a_backend_that_this_machine_lacks_is_said_and_leaves_nothing(laptop: Laptop) -> None:
    agent = laptop.run("--backend", "kernel")
    agent.wait_for("no tunnel could be made: kernel", timeout=WITHIN)
    assert laptop.clean()
    assert laptop.status()["connected"] is False


def test_a_machine_that_is_not_enrolled_is_told_how(laptop: Laptop, tmp_path: Path) -> None:
    environment = {**os.environ, "SALLYPORT_AGENT_STATE_DIR": str(tmp_path / "new")}
    for command in ("run", "status", "login"):
        done = subprocess.run(
            [*AGENT, command], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
        assert "sallyport-agent enrol URL" in done.stderr


# life and death of the agent


@pytest.mark.parametrize("backend", ["sallyport-tunnel", "wireguard-go"])
def test_packets_flow_through_either_backend(laptop: Laptop, backend: str) -> None:
    reached(laptop, "--backend", backend)
    said = laptop.status()
    assert (said["backend"], said["verdict"]["tier"]) == (backend, "full")


def test_a_second_agent_on_the_same_machine_is_refused_and_does_no_harm(laptop: Laptop) -> None:
    reached(laptop)
    done = laptop.call("run", "--interface", f"{laptop.interface}x")
    assert done.returncode == 1
    assert "runs already" in done.stderr
    laptop.arrives()


def test_sigterm_leaves_the_session_and_removes_the_interface(laptop: Laptop, administrator: Administrator) -> None:
    agent = reached(laptop)
    session = laptop.status()["verdict"]["session"]
    agent.signal(signal.SIGTERM)
    eventually(lambda: agent.exit_status() is not None, "the end of the agent")
    assert agent.exit_status() == 0
    assert laptop.clean()
    ended = [row for row in administrator.audit() if row["event"] == "session.ended" and session in json.dumps(row)]
    assert len(ended) == 1
    assert "left" in json.dumps(ended[0])
    assert laptop.status() == {"state": "stopped", "connected": False}
    assert not any("Traceback" in line for line in agent.lines)


@pytest.mark.parametrize("backend", ["sallyport-tunnel", "wireguard-go"])
def test_a_killed_agent_leaves_no_interface_and_no_boast_and_a_new_one_starts(laptop: Laptop, backend: str) -> None:
    agent = reached(laptop, "--backend", backend)
    agent.kill()
    agent.end()
    assert laptop.status() == {"state": "stopped", "connected": False}
    eventually(laptop.clean, "the end of the interface")
    reached(laptop, "--backend", backend)


def test_an_interface_that_another_program_serves_is_left_alone(laptop: Laptop) -> None:
    other = laptop.start("other", ["wireguard-go", "-f", laptop.interface], {"WG_PROCESS_FOREGROUND": "1"})
    eventually(lambda: not laptop.clean(), "another program's interface")
    socket = Path("/var/run/wireguard") / f"{laptop.interface}.sock"
    eventually(socket.exists, "another program's socket")
    agent = laptop.run()
    agent.wait_for("another program serves", timeout=WITHIN)
    assert not laptop.clean()
    assert other.exit_status() is None
    agent.end()
    assert not laptop.clean()


def test_a_tunnel_that_dies_under_a_running_agent_is_not_connected_until_there_is_a_new_one(laptop: Laptop) -> None:
    agent = reached(laptop)
    children = subprocess.run(
        ["ps", "--ppid", str(agent.pid), "-o", "pid="], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(children) == 1
    agent.signal(signal.SIGSTOP)  # it would have a new one before anybody could look
    os.kill(int(children[0]), signal.SIGKILL)
    eventually(laptop.clean, "the end of the interface")
    said = laptop.status()
    assert said["connected"] is False
    agent.signal(signal.SIGCONT)
    agent.wait_for("the tunnel is gone", timeout=WITHIN)
    laptop.arrives()
    eventually(lambda: laptop.status()["connected"], "connected")
    assert laptop.status()["verdict"]["session"] == said["verdict"]["session"]


# what is said while nothing flows


def test_before_the_gateway_has_answered_nothing_is_connected(laptop: Laptop) -> None:
    laptop.stage.gateway.signal(signal.SIGSTOP)
    pids = below(laptop.stage.gateway.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        agent = laptop.run()
        agent.wait_for("^unreachable", timeout=WITHIN)
        assert laptop.status()["connected"] is False
        assert "cannot be reached" in laptop.call("status").stdout
    finally:
        for pid in [*pids, laptop.stage.gateway.pid]:
            os.kill(pid, signal.SIGCONT)
    agent.wait_for("^tier full", timeout=WITHIN)
    laptop.arrives()
    eventually(lambda: laptop.status()["connected"], "connected")


def below(pid: int) -> list[int]:
    """Every process below one."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found: list[int] = []
    while more := [child for child, parent in parents.items() if parent in (pid, *found) and child not in found]:
        found += more
    return found


def test_a_frozen_agent_is_connected_no_longer_than_its_lease(laptop: Laptop) -> None:
    agent = reached(laptop)
    agent.signal(signal.SIGSTOP)
    lease_until = laptop.status()["lease_until"]
    while time.time() < lease_until + 1:
        time.sleep(1)
    assert laptop.status()["connected"] is False
    assert not laptop.call("status").stdout.startswith("connected")
    agent.signal(signal.SIGCONT)
    laptop.arrives()
    eventually(lambda: laptop.status()["connected"], "connected")


def test_a_lost_fact_and_its_return_are_told_with_the_fix(laptop: Laptop) -> None:
    agent = reached(laptop)
    mark = agent.mark()
    laptop.stage.firewall.flush()
    try:
        agent.wait_for("^tier quarantine", timeout=WITHIN, after=mark)
        shown = agent.wait_for(r"fix: (.+)", timeout=WITHIN, after=mark)[1]
        assert "firewall-on: " in laptop.call("status").stdout
        mark = agent.mark()
        laptop.stage.employee.apply(shown)
        agent.wait_for("^tier full", timeout=WITHIN, after=mark)
        agent.wait_for("resolved: firewall-on", timeout=WITHIN, after=mark)
        laptop.arrives()
    finally:
        laptop.stage.firewall.load()


# an administrator, and the way back


def test_after_a_kill_the_agent_asks_for_a_login_and_a_login_brings_it_back(
    laptop: Laptop, administrator: Administrator
) -> None:
    agent = reached(laptop)
    session = laptop.status()["verdict"]["session"]
    mark = agent.mark()
    administrator.kill(session, "a test")
    agent.wait_for("^login-required: run sallyport-agent login", timeout=WITHIN, after=mark)
    assert laptop.clean()
    said = laptop.status()
    assert (said["state"], said["connected"]) == ("login-required", False)
    assert "a login is needed" in laptop.call("status").stdout
    mark = agent.mark()
    laptop.log_in()
    agent.wait_for("^tier full", timeout=25, after=mark)  # at once, and not at the next try after 30 s
    laptop.arrives(WIKI)
    assert laptop.status()["verdict"]["session"] != session


# the gateway dies; last, because the stage has another gateway afterwards


def test_the_agent_outlives_the_gateway_and_comes_back_without_a_person(laptop: Laptop) -> None:
    agent = reached(laptop)
    mark = agent.mark()
    laptop.stage.gateway.kill()
    laptop.stage.gateway.end()
    agent.wait_for("^unreachable", timeout=WITHIN, after=mark)
    assert laptop.status()["connected"] is False
    assert agent.exit_status() is None
    mark = agent.mark()
    started = gateway_again(laptop)
    try:
        laptop.arrives()
        eventually(lambda: laptop.status()["connected"], "connected")
        assert laptop.status()["verdict"]["tier"] == "full"
        assert agent.exit_status() is None
        assert not any("login-required" in line for line in agent.lines)
        agent.end()
        eventually(laptop.clean, "the end of the interface")
    finally:
        started.end()


def gateway_again(laptop: Laptop) -> Program:
    """`sallyport up` on the folders of the gateway that died."""
    stage = laptop.stage
    settings = {
        "SALLYPORT_PUBLIC_URL": URL,
        "SALLYPORT_LISTEN": URL.removeprefix("https://"),
        "SALLYPORT_STATE_DIR": str(stage.folder / "gateway"),
        "SALLYPORT_POLICY_DIR": str(stage.folder / "policy"),
        "SALLYPORT_TUNNEL_INTERFACE": f"sp{os.getpid()}g",
        "SALLYPORT_TUNNEL_ENDPOINT": URL.removeprefix("https://").replace(str(PORT), str(TUNNEL_PORT)),
        "SALLYPORT_DEVELOPMENT_PROVIDER": f"127.0.0.1:{PROVIDER_PORT}",
    }
    deadline = time.monotonic() + WITHIN
    while True:
        gateway = Program(
            "up",
            [sys.executable, "-m", "gateway", "up"],
            environment=settings,
            inherited=without_settings(),
            within=stage.network.gateway.command(),
            orphaned=signal.SIGTERM,
        )
        try:
            gateway.wait_for("^ready:", timeout=WITHIN)
        except HostError:
            gateway.end()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)  # the ports of the gateway that died are still taken
        else:
            return gateway
