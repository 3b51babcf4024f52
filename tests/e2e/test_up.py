"""`sallyport up` and `sallyport serve` as an operator meets them: ready, refused in one line, ended in order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.programs import Program
from tests.sim.hosts import interface_names

SALLYPORT = [sys.executable, "-m", "gateway"]
URL = "https://127.0.0.1:8443"
POLICY = """
policy: broken
tiers: [full, quarantine, denied]
checks:
  firewall-on: {check: firewall, enabeld: true, otherwise: quarantine}
"""


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("machine", mark=f"{namespaces.owner_mark()}-up")
    yield made
    made.remove()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {
        "SALLYPORT_STATE_DIR": str(tmp_path / "state"),
        "SALLYPORT_TUNNEL_INTERFACE": f"spu{os.getpid()}",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def up(host: Host, settings: dict[str, str]) -> Iterator[Program]:
    program = Program("up", [*SALLYPORT, "up"], environment=settings, within=host.command())
    try:
        program.wait_for("^ready:", timeout=30)
        yield program
    finally:
        program.end()


def get(host: Host, settings: dict[str, str], path: str) -> httpx2.Response:
    with client(host, settings) as browser:
        return browser.get(URL + path)


@contextlib.contextmanager
def client(host: Host, settings: dict[str, str]) -> Iterator[httpx2.Client]:
    trust = ssl.create_default_context(cafile=f"{settings['SALLYPORT_STATE_DIR']}/ca.crt")
    with host.entered(), httpx2.Client(verify=trust, trust_env=False) as made:
        yield made


def ended(program: Program, *, within: float = 15.0) -> int:
    """The exit status of a program that ends by itself."""
    deadline = time.monotonic() + within
    while (status := program.exit_status()) is None:
        assert time.monotonic() < deadline, program.tail()
        time.sleep(0.05)
    return status


def test_it_says_loudly_that_anybody_may_log_in_and_how_to_enrol(up: Program, settings: dict[str, str]) -> None:
    said = "\n".join(up.lines)
    up.wait_for("NOT FOR PRODUCTION: the development provider lets anybody log in as anybody", timeout=5)
    up.wait_for(f"sallyport-agent enrol {URL} --ca {settings['SALLYPORT_STATE_DIR']}/ca.crt", timeout=5)
    assert "development provider on http://127.0.0.1:9400" in said


def test_the_development_provider_listens_on_loopback_only(up: Program, host: Host) -> None:
    listening = host.run("python3", "-c", "print(open('/proc/net/tcp').read())").splitlines()
    ports = {line.split()[1] for line in listening[1:] if line.strip() and line.split()[3] == "0A"}
    assert f"0100007F:{9400:04X}" in ports
    assert not [port for port in ports if port.endswith(f":{9400:04X}") and not port.startswith("0100007F")]


def test_it_is_healthy_ready_and_describes_itself(up: Program, host: Host, settings: dict[str, str]) -> None:
    assert get(host, settings, "/healthz").status_code == 200
    ready = get(host, settings, "/readyz").json()
    assert ready["ready"] is True
    assert all(ready["checks"].values())
    paths = get(host, settings, "/openapi.json").json()["paths"]
    assert "/v1/sessions/{session}/reports" in paths
    assert "sallyport_" in get(host, settings, "/metrics").text


def test_rubbish_is_answered_with_a_problem_and_the_gateway_stays_ready(
    up: Program, host: Host, settings: dict[str, str]
) -> None:
    with client(host, settings) as browser:
        for path in ("/v1/enrolments", "/v1/sessions", "/v1/sessions/x/reports", "/v1/sessions/x/credential"):
            for body in (b"", b"\xff" * 1000, b"a.b.c", b"{}", b"x" * 100_000):
                answer = browser.post(URL + path, content=body, headers={"content-type": "application/jose"})
                assert 400 <= answer.status_code < 500, (path, body[:10], answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]
        with socket.create_connection(("127.0.0.1", 8443)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(500))
    assert get(host, settings, "/readyz").json()["ready"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_and_leaves_nothing(host: Host, settings: dict[str, str], number: signal.Signals) -> None:
    before = interface_names()
    program = Program("up", [*SALLYPORT, "up"], environment=settings, within=host.command())
    program.wait_for("^ready:", timeout=30)
    program.signal(number)
    assert ended(program) == 0, program.tail()
    assert host.run("ip", "-o", "link").count("\n") == 1, "only loopback"
    assert interface_names() == before
    assert subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=True).stdout == ""


def test_its_programs_end_with_it_even_when_it_is_killed(up: Program, host: Host) -> None:
    up.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=True).stdout
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"still running: {left}")


def test_when_one_program_dies_everything_is_stopped_and_it_is_named(host: Host, settings: dict[str, str]) -> None:
    program = Program("up", [*SALLYPORT, "up"], environment=settings, within=host.command())
    try:
        program.wait_for("^ready:", timeout=30)
        pids = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True, check=True).stdout
        tunnel = next(p for p in map(int, pids.split()) if b"\0tunnel\0" in Path(f"/proc/{p}/cmdline").read_bytes())
        os.kill(tunnel, signal.SIGKILL)
        program.wait_for("error: tunnel ended with status -9: everything is stopped", timeout=15)
        assert ended(program) == 1
    finally:
        program.end()


# refused at start, in one line, by name


def complaint(host: Host, command: str, **environment: str) -> str:
    chosen = [f"{name}={value}" for name, value in environment.items()]
    done = subprocess.run(
        host.command("env", *chosen, *SALLYPORT, *command.split()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("kind", "port", "setting"),
    [
        (socket.SOCK_STREAM, 8443, "SALLYPORT_LISTEN"),
        (socket.SOCK_STREAM, 9400, "SALLYPORT_DEVELOPMENT_PROVIDER"),
        (socket.SOCK_DGRAM, 51820, "SALLYPORT_TUNNEL_ENDPOINT"),
    ],
)
def test_a_taken_port_is_named_with_its_setting(
    host: Host, settings: dict[str, str], kind: int, port: int, setting: str
) -> None:
    with host.entered(), socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        text = complaint(host, "up", **settings)
    assert f"127.0.0.1:{port}" in text or f"0.0.0.0:{port}" in text
    assert setting in text


@pytest.mark.parametrize("command", ["up", "serve", "tunnel"])
def test_a_wrong_setting_is_refused_at_start(host: Host, settings: dict[str, str], command: str) -> None:
    assert "SALLYPORT_TUNNEL_MTU='9': must be" in complaint(host, command, **settings, SALLYPORT_TUNNEL_MTU="9")
    assert "SALLYPORT_TYPO is not a setting" in complaint(host, command, **settings, SALLYPORT_TYPO="1")


def test_a_wrong_policy_is_refused_at_start_with_file_line_and_what_is_allowed(
    host: Host, settings: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "broken.yaml").write_text(POLICY)
    text = complaint(host, "serve --development", **settings, SALLYPORT_POLICY_DIR=str(folder))
    assert f"{folder}/broken.yaml:5:" in text
    assert "enabeld" in text


def test_serve_without_a_provider_or_policy_says_which_setting_is_missing(host: Host, settings: dict[str, str]) -> None:
    assert "SALLYPORT_POLICY_DIR is not set" in complaint(host, "serve", **settings)


def test_a_second_gateway_on_the_same_state_is_refused(up: Program, host: Host, settings: dict[str, str]) -> None:
    text = complaint(host, "serve --development", **settings, SALLYPORT_LISTEN="127.0.0.1:8444")
    assert settings["SALLYPORT_STATE_DIR"] in text


def test_the_state_is_readable_by_its_owner_only(up: Program, settings: dict[str, str]) -> None:
    folder = Path(settings["SALLYPORT_STATE_DIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    for secret in ("tunnel.key", "cookie.key", "tls.key", "ca.key"):
        assert (folder / secret).stat().st_mode & 0o777 == 0o600


def test_metrics_and_openapi_are_well_formed(up: Program, host: Host, settings: dict[str, str]) -> None:
    document = json.loads(get(host, settings, "/openapi.json").text)
    assert document["openapi"].startswith("3.")
    for line in get(host, settings, "/metrics").text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2
