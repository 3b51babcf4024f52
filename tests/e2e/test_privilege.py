"""What a running tunnel has given up, and what it can do all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.errors import HostError
from gateway.programs import Program
from tests.conftest import BUILT
from tests.interop.ends import SOCKETS, End, pair, uapi, until, wg

NOTHING = "0" * 16
FORBIDDEN = {
    "a program": "os.execv('/bin/true', ['true'])",
    "a process": "os.fork()",
    "a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "a TCP socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "a file to write": "open('/tmp/forbidden', 'w')",
    "a file to read": "open('/etc/passwd')",
    "another process's memory": "checked(libc.ptrace(16, os.getppid(), 0, 0))",
    "another process's end": "os.kill(os.getppid(), 0)",
    "executable memory": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "another user": "os.setuid(1)",
    "a mount": "checked(libc.mount(b'x', b'/mnt', b'tmpfs', 0, 0))",
    "another namespace": "checked(libc.unshare(0x10000000))",
}
TRY = """
import ctypes, errno, mmap, os, socket
from gateway.tunnel import privilege
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result:
        raise OSError(ctypes.get_errno(), "")
privilege.drop()
try:
    {attempt}
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("done")
"""


def attempt(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TRY.format(attempt=code)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("code", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_confined_process_is_refused(code: str) -> None:
    assert attempt(code) == "EPERM"


def test_a_confined_process_may_open_a_udp_socket_and_take_memory() -> None:
    assert attempt("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).bind(('::', 0)); bytearray(64 << 20)") == "done"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gave_up_everything(pid: int) -> bool:
    now = status(pid)
    capabilities = {now[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return capabilities == {NOTHING} and now["NoNewPrivs"] == "1" and now["Seccomp"] == "2"


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("alone", mark=f"{namespaces.owner_mark()}-p")
    yield made
    made.remove()


@pytest.fixture
def tunnel(host: Host) -> Iterator[tuple[End, Program]]:
    with contextlib.ExitStack() as stack:
        end = End(host, 1, f"wg{os.getpid()}p", "sallyport")
        program = end.start(stack)
        until(lambda: gave_up_everything(program.pid), "the drop of all privilege")
        yield end, program


def test_the_tunnel_has_no_capability_no_new_privileges_and_a_filter(tunnel: tuple[End, Program]) -> None:
    _, program = tunnel
    limits = Path(f"/proc/{program.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")] == [["0", "0"]]
    assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")] == [["128", "128"]]


def test_its_deputy_has_two_capabilities_and_one_descriptor(tunnel: tuple[End, Program]) -> None:
    _, program = tunnel
    (deputy,) = children(program.pid)
    until(lambda: status(deputy)["Seccomp"] == "2", "the deputy's filter")
    assert int(status(deputy)["CapEff"], 16) == int(status(deputy)["CapBnd"], 16) == 1 << 10 | 1 << 12
    opened = {each.name: os.readlink(each) for each in Path(f"/proc/{deputy}/fd").iterdir()}
    assert {opened.pop(standard) for standard in "012"} == {"/dev/null"}
    assert [target.split(":")[0] for target in opened.values()] == ["socket"]


def test_the_tunnel_of_a_gateway_needs_no_deputy(host: Host) -> None:
    interface = f"spp{os.getpid()}"
    settings = {"SALLYPORT_TUNNEL_INTERFACE": interface, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "gateway", "tunnel"]
    program = Program("tunnel", command, environment=settings, within=host.command())
    try:
        program.wait_for("tunnel ready", timeout=30)
        until(lambda: gave_up_everything(program.pid), "the drop of all privilege")
        assert children(program.pid) == []
        assert "listen_port=51820\n" in uapi(interface, "get=1\n\n"), "the port of the settings, opened with privilege"
    finally:
        program.end()
    assert program.exit_status() == 0
    assert not (SOCKETS / f"{interface}.sock").exists()


def test_nothing_is_left_at_the_end(tunnel: tuple[End, Program]) -> None:
    end, program = tunnel
    program.end()
    assert program.exit_status() == 0, program.tail()
    assert not (SOCKETS / f"{end.interface}.sock").exists()
    assert subprocess.run(["ip", "netns", "pids", end.host.name], capture_output=True, check=True).stdout == b""


def test_any_port_may_be_asked_for_and_one_that_is_taken_is_refused_by_errno(tunnel: tuple[End, Program]) -> None:
    end, _ = tunnel
    wg("set", end.interface, "listen-port", "500")
    assert wg("show", end.interface, "listen-port") == "500\n"
    with end.host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 4500))
        assert uapi(end.interface, "set=1\nlisten_port=4500\n\n") == "errno=98\n\n"
    assert wg("show", end.interface, "listen-port") == "500\n"


def test_without_its_deputy_the_tunnel_lives_on_and_says_by_errno_what_it_cannot(tunnel: tuple[End, Program]) -> None:
    end, program = tunnel
    for deputy in children(program.pid):
        os.kill(deputy, signal.SIGKILL)
    until(lambda: uapi(end.interface, "set=1\nlisten_port=500\n\n") == "errno=32\n\n", "EPIPE")
    assert uapi(end.interface, "get=1\n\n").endswith("errno=0\n\n")


def test_more_clients_than_it_serves_do_not_starve_the_tunnel(tunnel: tuple[End, Program]) -> None:
    end, _ = tunnel
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(SOCKETS / f"{end.interface}.sock"))
        client.settimeout(10)
        assert client.recv(1) == b"", "the last one is turned away"
    until(lambda: answers(end.interface), "an answer, once the others are gone")


def answers(interface: str) -> bool:
    try:
        return uapi(interface, "get=1\n\n").endswith("errno=0\n\n")
    except OSError:
        return False


@pytest.mark.parametrize("transforms", ["python", "native"] if BUILT else ["python"])
def test_packets_carry_the_mark_that_wg_sets_and_pass_after_a_change_of_port(
    transforms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_TRANSFORMS", transforms)
    with pair("sallyport", "wireguard-go") as (one, two):
        one.ping(two, 4)
        one.host.ip("rule", "add", "fwmark", "7", "prohibit")
        wg("set", one.interface, "fwmark", "7")
        assert wg("show", one.interface, "fwmark") == "0x7\n"
        with pytest.raises(HostError):
            one.ping(two, 4, count=1, within=1)
        wg("set", one.interface, "listen-port", "51900")
        with pytest.raises(HostError):
            one.ping(two, 4, count=1, within=1)
        wg("set", one.interface, "fwmark", "0")
        one.ping(two, 4)
        two.ping(one, 6)
