"""Two hosts on one wire, each with a WireGuard of its own: ours or the real wireguard-go."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.programs import Program
from tests.interop import programs

SOCKETS = Path("/var/run/wireguard")
OURS = [str(Path(sys.executable).with_name("sallyport-tunnel"))]
THEIRS = ["wireguard-go"]
PROGRAMS = {"sallyport": OURS, "wireguard-go": THEIRS, **programs.COMMANDS}
PORT = 51820
_numbers = itertools.count()


def wg(*arguments: str, text: str | None = None) -> str:
    """wg(8), which finds the interface by its socket and needs no namespace."""
    done = subprocess.run(["wg", *arguments], input=text, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"wg {arguments}: {done.stderr}"
    return done.stdout


@dataclass
class End:
    """One end: a host, an interface on it, its keys and addresses."""

    host: Host
    number: int
    interface: str
    program: str
    state: Path | None = None
    process: Program | None = None
    private_key: str = field(default_factory=lambda: wg("genkey").strip())

    @property
    def public_key(self) -> str:
        return wg("pubkey", text=self.private_key).strip()

    def outer(self, version: int) -> str:
        return f"192.0.2.{self.number}" if version == 4 else f"2001:db8::{self.number}"

    def inner(self, version: int) -> str:
        return f"10.99.0.{self.number}" if version == 4 else f"fd99::{self.number}"

    def start(self, stack: contextlib.ExitStack) -> Program:
        """Run the program until the stack is closed."""
        self.state = self.state or Path(tempfile.mkdtemp(prefix="sallyport-state-"))
        program = Program(
            f"{self.program}-{self.number}",
            [*PROGRAMS[self.program], "-f", self.interface],
            environment={"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error", "SALLYPORT_STATE_DIR": str(self.state)},
            within=self.host.command(),
        )
        stack.callback(shutil.rmtree, self.state, ignore_errors=True)
        stack.callback((SOCKETS / f"{self.interface}.sock").unlink, missing_ok=True)
        stack.callback(program.end)
        until((SOCKETS / f"{self.interface}.sock").exists, "the UAPI socket")
        self.process = program
        return program

    def address(self) -> None:
        self.host.ip("address", "add", f"{self.inner(4)}/24", "dev", self.interface)
        self.host.ip("address", "add", f"{self.inner(6)}/64", "dev", self.interface, "nodad")
        self.host.ip("link", "set", self.interface, "mtu", "1420", "up")

    def configure(self, peer: End, *, version: int = 4, endpoint: bool = True) -> None:
        """Keys, port and peer by `wg set`."""
        key = ["private-key", "/dev/stdin", "listen-port", str(PORT)]
        where = f"{peer.outer(version)}:{PORT}" if version == 4 else f"[{peer.outer(version)}]:{PORT}"
        allowed = ["allowed-ips", f"{peer.inner(4)}/32,{peer.inner(6)}/128"]
        known = ["endpoint", where] if endpoint else []
        wg("set", self.interface, *key, "peer", peer.public_key, *known, *allowed, text=self.private_key)

    def ping(self, peer: End, version: int, *, count: int = 3, within: int = 10) -> None:
        """Raise HostError unless every ping is answered."""
        self.host.run("ping", "-c", str(count), "-i", "0.2", "-w", str(within), peer.inner(version))

    def dump(self) -> list[str]:
        """The fields of the only peer in `wg show IF dump`."""
        return wg("show", self.interface, "dump").splitlines()[1].split("\t")

    @property
    def latest_handshake(self) -> int:
        """Unix time. boringtun tells how long ago it was, in the place where others tell when."""
        told = int(self.dump()[4])
        return int(time.time()) - told if self.program.startswith("boringtun") else told


@contextlib.contextmanager
def pair(one: str, other: str, *, version: int = 4) -> Iterator[tuple[End, End]]:
    """Two configured ends. Only the first knows where the second is: it is the initiator of the first handshake."""
    with contextlib.ExitStack() as stack:
        mark = f"{namespaces.owner_mark()}-w{next(_numbers)}"
        ends = []
        for number, program in ((1, one), (2, other)):
            host = Host.create(f"end{number}", mark=mark)
            stack.callback(host.remove)
            ends.append(End(host, number, f"wg{os.getpid()}x{next(_numbers)}", program))
        first, second = ends
        namespaces.ip(
            "link",
            "add",
            "wire",
            "netns",
            first.host.name,
            "type",
            "veth",
            "peer",
            "name",
            "wire",
            "netns",
            second.host.name,
        )
        for end in ends:
            end.host.ip("address", "add", f"{end.outer(4)}/24", "dev", "wire")
            end.host.ip("address", "add", f"{end.outer(6)}/64", "dev", "wire", "nodad")
            end.host.ip("link", "set", "wire", "up")
            end.start(stack)
        first.configure(second, version=version)
        second.configure(first, endpoint=False)
        for end in ends:
            end.address()
        yield first, second


def until(look: Callable[[], object], what: str, *, within: float = 15.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def uapi(interface: str, request: str) -> str:
    """One request to a UAPI socket, the answer as text."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(SOCKETS / f"{interface}.sock"))
        client.sendall(request.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            piece = client.recv(65536)
            if not piece:
                break
            answer += piece
    return answer.decode()
