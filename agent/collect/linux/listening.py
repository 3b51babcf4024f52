"""Which ports are open to more than this machine itself, and which program holds them (proc(5), /proc/net)."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from agent.collect.linux.processes import executables
from agent.collect.reading import Unreadable, file, stated, texts
from agent.wire import Fact

FACTS: Final = ("network.listening", "network.listening_programs")
TABLES: Final = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
LISTENING: Final = {"tcp": "0A", "udp": "07"}
"""TCP_LISTEN; for UDP TCP_CLOSE, which is a socket without a peer (include/net/tcp_states.h)."""
_LINE = re.compile(
    r"\s*\d+: (?P<address>[0-9A-F]{8}|[0-9A-F]{32}):(?P<port>[0-9A-F]{4}) \S+ (?P<state>[0-9A-F]{2})"
    r"(?: +\S+){5} +(?P<inode>\d+)(?: .*)?"
)
Program = str


class Socket(NamedTuple):
    """An open port: `tcp/22`, and the number that its file descriptor shows."""

    port: str
    inode: int


def collect(*, now: float) -> dict[str, Fact]:
    """Read the tables of this network namespace. Raises Unreadable."""
    sockets = [
        socket
        for protocol, names in TABLES.items()
        for name in names
        for socket in parse_sockets(_table(name), protocol)
    ]
    programs = _programs({socket.inode for socket in sockets})
    by_port = {socket.port: programs[socket.inode] for socket in sockets if socket.inode in programs}
    return stated(
        "/proc/net",
        now,
        network__listening=texts(socket.port for socket in sockets),
        network__listening_programs=by_port,
    )


def _table(name: str) -> str:
    path = Path("/proc/self/net") / name
    return file(path) if name in ("tcp", "udp") or path.exists() else "sl\n"  # a kernel without IPv6 has no such table


def parse_sockets(said: str, protocol: str) -> list[Socket]:
    """Read /proc/net/tcp and its like: what listens elsewhere than on loopback. Raises Unreadable."""
    heading, *lines = said.split("\n")
    if "sl" not in heading.split()[:1]:
        raise Unreadable("a table of sockets has no heading")
    found = []
    for line in lines:
        row = _LINE.fullmatch(line.rstrip()) if len(line) < 1000 else None
        if row is None and line.strip():
            raise Unreadable("a table of sockets has a line in another form")
        if row and row["state"] == LISTENING[protocol] and not _address(row["address"]).is_loopback:
            found.append(Socket(f"{protocol}/{int(row['port'], 16)}", int(row["inode"])))
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Words of four bytes in the order of the machine, here little-endian, as every platform of ours is."""
    data = b"".join(bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8))
    address = ipaddress.ip_address(data)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _programs(inodes: set[int]) -> dict[int, Program]:
    """The program that holds each socket, as far as we may look: root sees all."""
    found: dict[int, Program] = {}
    for pid, program in executables().items():
        for inode in _held(pid):
            if inode in inodes:
                found.setdefault(inode, program)
    return found


def _held(pid: int) -> Iterator[int]:
    """The sockets of a process, by their inodes; it may end, or close one, while we look."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                link = os.readlink(f"{folder}/{name}")
                if link.startswith("socket:["):
                    yield int(link[8:-1])
