"""Open ports, from the tables of the kernel; and the real thing: a port that this test opens."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from agent.collect.linux import listening, processes
from agent.collect.linux.listening import Socket, parse_sockets
from agent.collect.reading import Unreadable

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, state: str = "0A", inode: int = 4711) -> str:
    return (
        f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 "
        "0000000000000000 100 0 0 10 0\n"
    )


ANY6, LOOP6 = "0" * 32, "0" * 24 + "01000000"
MAPPED_LOOP, LINK = "0000000000000000FFFF00000100007F", "000080FE000000000000000001000000"


@pytest.mark.parametrize(
    ("protocol", "line", "port"),
    [
        ("tcp", row("00000000:0016"), "tcp/22"),
        ("tcp", row("0200000A:1F90"), "tcp/8080"),
        ("tcp", row("0100007F:1F90"), None),
        ("tcp", row("0200000A:1F90", "01"), None),
        ("tcp", row(f"{ANY6}:0050"), "tcp/80"),
        ("tcp", row(f"{LOOP6}:0050"), None),
        ("tcp", row(f"{MAPPED_LOOP}:0050"), None),
        ("tcp", row(f"{LINK}:0050"), "tcp/80"),
        ("udp", row("00000000:14E9", "07"), "udp/5353"),
        ("udp", row("00000000:14E9", "01"), None),
    ],
)
def test_what_listens_elsewhere_than_on_loopback_is_open(protocol: str, line: str, port: str | None) -> None:
    assert parse_sockets(HEAD + line, protocol) == ([Socket(port, 4711)] if port else [])


@pytest.mark.parametrize(
    "text", ["", "\0", "no such table", HEAD + "x\n", HEAD + row("00000000:0016")[:40], HEAD + "0" * (10 << 20)]
)
def test_a_table_in_another_form_is_not_nothing_open(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_sockets(text, "tcp")


def test_a_port_of_this_process_is_found_with_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with Listening() as port:
        found = listening.collect(now=1.0)
    assert f"tcp/{port}" in found["network.listening"].value
    program = found["network.listening_programs"].value[f"tcp/{port}"]
    assert Path(program).samefile(sys.executable)
    assert program in processes.collect(now=1.0)["processes.executables"].value
    assert f"tcp/{port}" not in listening.collect(now=1.0)["network.listening"].value


class Listening:
    """A TCP port on all addresses; nothing is sent to it."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("0.0.0.0", 0))  # that it is open to others is what the test is about
        self._socket.listen()
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()
