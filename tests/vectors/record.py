"""Records the transcripts with the installed wireguard-go: `python -m tests.vectors.record`, as root.

In both roles: wireguard-go begins, and we begin. Packets in both directions, over IPv4 and IPv6 inside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from base64 import b64encode
from pathlib import Path

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from tests.interop.ends import End, until, wg
from tests.sim.wire import public_key, udp4, udp6
from tests.vectors.transcript import OURS, THEIRS, Transcript

HERE = Path(__file__).parent
PORT = 51820


def record(file: Path, *, they_begin: bool) -> None:
    """One conversation into one file."""
    with contextlib.ExitStack() as stack:
        host = Host.create("record", mark=f"{namespaces.owner_mark()}-v{int(they_begin)}")
        stack.callback(host.remove)
        end = End(host, 1, f"wg{os.getpid()}v", "wireguard-go")
        end.private_key = b64encode(bytes([1]) * 32).decode()
        end.start(stack)
        wg("set", end.interface, "private-key", "/dev/stdin", "listen-port", str(THEIRS[1]), text=end.private_key)
        ours = b64encode(public_key(bytes([OURS]) * 32)).decode()
        where = ["endpoint", f"127.0.0.1:{PORT}"] if they_begin else []
        wg("set", end.interface, "peer", ours, *where, "allowed-ips", f"10.0.0.{OURS}/32,fd00::{OURS}/128")
        host.ip("address", "add", "10.0.0.1/24", "dev", end.interface)
        host.ip("address", "add", "fd00::1/64", "dev", end.interface, "nodad")
        with host.entered():
            wire = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            wire.bind(("127.0.0.1", PORT))
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        wire.settimeout(10)
        host.ip("link", "set", end.interface, "mtu", "1420", "up")
        transcript = Transcript.begin(knows_endpoint=not they_begin)
        server.bind(("10.0.0.1", 7))
        server.settimeout(10)
        if they_begin:
            sender.sendto(b"they begin", (f"10.0.0.{OURS}", 7))
            _carry(transcript, wire, datagrams=2)
        else:
            _send(wire, transcript.tun(udp4(f"10.0.0.{OURS}", "10.0.0.1", b"we begin")))
            _carry(transcript, wire, datagrams=1)
            sender.sendto(b"they answer", (f"10.0.0.{OURS}", 7))
            _carry(transcript, wire, datagrams=1)
        _send(wire, transcript.tun(udp4(f"10.0.0.{OURS}", "10.0.0.1", b"over IPv4")))
        _send(wire, transcript.tun(udp6(f"fd00::{OURS}", "fd00::1", b"over IPv6")))
        heard = [server.recv(100) for _ in range(1 if they_begin else 2)]
        assert heard[-1] == b"over IPv4", heard
        until(lambda: int(end.dump()[4]) > 0, "a handshake at their end")
        transcript.save(file)


def _carry(transcript: Transcript, wire: socket.socket, *, datagrams: int) -> None:
    for _ in range(datagrams):
        _send(wire, transcript.receive(wire.recv(65535)))


def _send(wire: socket.socket, datagrams: list[bytes]) -> None:
    for datagram in datagrams:
        wire.sendto(datagram, THEIRS)


if __name__ == "__main__":
    record(HERE / "wireguard-go-begins.json", they_begin=True)
    record(HERE / "we-begin.json", they_begin=False)
    print(
        subprocess.run(["wireguard-go", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()[
            0
        ]
    )
