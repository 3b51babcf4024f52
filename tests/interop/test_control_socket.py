"""`sallyport-tunnel` as a drop-in for `wireguard-go`, and its socket under any bytes."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from tests.conftest import BUILT
from tests.interop.ends import OURS, SOCKETS, End, uapi, until, wg

HOSTILE = [
    b"\n\n",
    b"get=1\n\n" * 100,
    b"set=1\n\n",
    b"set=1\nprivate_key=zz\n\n",
    b"set=1\nprivate_key=" + b"0" * 64 + b"\npublic_key=\n\n",
    b"set=1\npublic_key=" + b"ab" * 32 + b"\nallowed_ip=300.0.0.0/99\n\n",
    b"set=1\npublic_key=" + b"ab" * 32 + b"\npermit=10.0.0.0/8 tcp/99999\n\n",
    b"set=1\npublic_key=" + b"ab" * 32 + b"\nlease_ms=-1\n\n",
    b"set=1\nlisten_port=99999999999999999999999\n\n",
    b"set=1\nallowed_ip=10.0.0.0/8\n\n",
    "set=1\nlisten_port=٥١\n\n".encode(),
    b"nonsense\n\n",
    b"\0" * 5000 + b"\n\n",
    b"\xff\xfe\n\n",
    b"set=1\n" + b"a" * 100_000 + b"\n\n",
    b"get=1",
    b"=" * 70_000,
]


@pytest.fixture
def end() -> Iterator[End]:
    with contextlib.ExitStack() as stack:
        host = Host.create("drop-in", mark=f"{namespaces.owner_mark()}-c")
        stack.callback(host.remove)
        alone = End(host, 1, f"wg{os.getpid()}c", "sallyport")
        alone.start(stack)
        yield alone


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_the_tunnel_lives_on_whatever_its_socket_is_told(end: End, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKETS / f"{end.interface}.sock"))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        while client.recv(1 << 16):
            pass
    assert uapi(end.interface, "get=1\n\n").endswith("errno=0\n\n")


def test_random_bytes_on_the_socket_change_nothing(end: End) -> None:
    wg("set", end.interface, "private-key", "/dev/stdin", "listen-port", "51999", text=wg("genkey"))
    told = wg("show", end.interface, "dump")
    dice = random.Random(7)
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(SOCKETS / f"{end.interface}.sock"))
            client.sendall(dice.randbytes(dice.randrange(1, 400)) + b"\n\n")
    assert wg("show", end.interface, "dump") == told


def test_a_refused_request_is_told_by_errno_and_the_connection_goes_on(end: End) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKETS / f"{end.interface}.sock"))
        client.settimeout(5)
        client.sendall(b"set=1\nprivate_key=zz\n\n")
        answer = client.recv(100)
        assert answer.startswith(b"errno=")
        assert answer != b"errno=0\n\n"
        client.sendall(b"get=1\n\n")
        assert client.recv(4096).endswith(b"errno=0\n\n")


def test_a_watcher_is_told_counters_every_second_and_slow_ones_do_no_harm(end: End) -> None:
    with socket.socket(socket.AF_UNIX) as client, client.makefile() as lines:
        client.connect(str(SOCKETS / f"{end.interface}.sock"))
        client.settimeout(10)
        client.sendall(b"watch=1\n\n")
        seen = [lines.readline() for _ in range(4)]
    assert any(line.startswith("event=counters peers=0") for line in seen), seen
    assert uapi(end.interface, "get=1\n\n").endswith("errno=0\n\n")


def test_what_the_kernel_drops_at_the_udp_sockets_is_shown_also_after_a_change_of_port(end: End) -> None:
    for port, expected in ((51999, 3), (52000, 6)):
        wg("set", end.interface, "listen-port", str(port))
        with end.host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(b"nonsense", ("127.0.0.1", port))
        assert f"drop_kernel={expected}\n" in uapi(end.interface, "get=1\n\n")


def test_only_root_and_its_group_may_connect(end: End) -> None:
    found = (SOCKETS / f"{end.interface}.sock").stat()
    assert found.st_mode & 0o777 == 0o660
    assert found.st_uid == 0


def test_a_second_process_for_the_same_interface_is_refused_in_one_line(end: End) -> None:
    done = subprocess.run([*OURS, "-f", end.interface], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: {end.interface} is already served: a process listens on {SOCKETS}/{end.interface}.sock\n"
    )


@pytest.mark.parametrize("name", ["much-too-long-a-name", "a/b", "sp ace"])
def test_an_impossible_name_is_refused_in_one_line(name: str) -> None:
    done = subprocess.run([*OURS, "-f", name], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def daemon() -> Iterator[tuple[Host, str]]:
    """Started without -f: the command returns when the interface can be configured, the process goes on."""
    host = Host.create("daemon", mark=f"{namespaces.owner_mark()}-d")
    interface = f"wg{os.getpid()}d"
    try:
        done = subprocess.run(host.command(*OURS, interface), capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert "listening port" in wg("show", interface)
        yield host, interface
    finally:
        host.remove()
        (SOCKETS / f"{interface}.sock").unlink(missing_ok=True)


def test_removing_the_socket_takes_the_interface_down(daemon: tuple[Host, str]) -> None:
    host, interface = daemon
    assert interface in host.ip("-o", "link")
    (SOCKETS / f"{interface}.sock").unlink()
    until(lambda: interface not in host.ip("-o", "link"), "the end of the interface")


def test_deleting_the_link_ends_the_process_and_removes_the_socket(daemon: tuple[Host, str]) -> None:
    host, interface = daemon
    host.ip("link", "delete", interface)
    until(lambda: not (SOCKETS / f"{interface}.sock").exists(), "the end of the socket")


def test_a_socket_that_a_killed_process_left_behind_is_taken_over(tmp_path: Path) -> None:
    host = Host.create("killed", mark=f"{namespaces.owner_mark()}-k")
    try:
        with contextlib.ExitStack() as stack:
            end = End(host, 1, f"wg{os.getpid()}k", "sallyport")
            program = end.start(stack)
            program.kill()
            until(lambda: program.exit_status() is not None, "its end")
            assert (SOCKETS / f"{end.interface}.sock").exists()
            time.sleep(0.1)
            end.start(stack)
            until(lambda: answers(end.interface), "an answer")
    finally:
        host.remove()


def answers(interface: str) -> bool:
    try:
        return uapi(interface, "get=1\n\n").endswith("errno=0\n\n")
    except OSError:
        return False


@pytest.mark.parametrize("name", ["python", "native"] if BUILT else ["python"])
def test_the_version_names_the_transforms_in_use(name: str) -> None:
    done = subprocess.run(
        ["env", f"SALLYPORT_TRANSFORMS={name}", *OURS, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sallyport-tunnel 0.1.0 (transforms: {name})\n"


def test_without_a_word_the_best_transforms_that_are_built_are_taken() -> None:
    done = subprocess.run([*OURS, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"sallyport-tunnel 0.1.0 (transforms: {'native' if BUILT else 'python'})\n"


def test_unknown_transforms_are_refused_in_one_line() -> None:
    command = ["env", "SALLYPORT_TRANSFORMS=rust", *OURS, "-f", "wgx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: SALLYPORT_TRANSFORMS='rust': must be one of native, python\n"
