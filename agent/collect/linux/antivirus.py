"""ClamAV's daemon, asked over its own socket: does it answer, and how old are its signatures (clamd(8))."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, absent, stated
from agent.wire import Fact

FACTS: Final = ("antivirus.product", "antivirus.running", "antivirus.signatures_at", "antivirus.signatures_version")
SOCKETS: Final = (Path("/run/clamav/clamd.ctl"), Path("/run/clamd.scan/clamd.sock"), Path("/run/clamav/clamd.sock"))
"""Where Debian, Fedora and others put it."""
PROGRAM: Final = "clamd"
PATIENCE: Final = 3.0
"""Seconds for an answer; a clamd that is stopped answers nobody and protects nobody."""

LONGEST_ANSWER: Final = 4096
_UCRED = struct.Struct("@3i")
_VERSION = re.compile(
    r"ClamAV (?P<engine>[\w.+~-]+)(?:/(?P<signatures>\d+)/(?P<made>\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}))?",
    re.ASCII,
)


def collect(sockets: Sequence[Path] = SOCKETS, *, now: float) -> dict[str, Fact]:
    """Ask the first clamd that answers. That none does is a fact and not an error: there is no protection."""
    silent = "no clamd socket was found"
    for path in sockets:
        try:
            if _ask(path, "PING") != "PONG":
                raise Unreadable(f"{path} is no clamd")
            process(path)
            return _running(path, now)
        except Unreadable as error:
            silent = str(error) if path.exists() else silent
    return {
        **absent((FACTS[0], *FACTS[2:]), "clamd", now, silent),
        **stated(f"clamd ({silent})", now, antivirus__running=False),
    }


def _running(path: Path, now: float) -> dict[str, Fact]:
    signatures, made = parse_version(_ask(path, "VERSION"))
    return {
        **stated(str(path), now, antivirus__product="clamav", antivirus__running=True),
        **stated(f"{path} VERSION", now, antivirus__signatures_at=made, antivirus__signatures_version=signatures),
    }


def parse_version(text: str) -> tuple[str | None, float | None]:
    """Read `ClamAV 1.4.6/27400/Thu Nov 19 02:40:37 2026`: signature version and when it was made, in Unix seconds.

    With only local signatures there is neither. clamd writes the date in local time, as ctime(3) does.
    """
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise Unreadable("VERSION was not answered in clamd's form")
    if found["made"] is None:
        return None, None
    try:
        return found["signatures"], time.mktime(time.strptime(found["made"], "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return found["signatures"], None


def process(path: Path) -> int:
    """The process id of the clamd behind a socket. Raises Unreadable: what answers without one is an imitation.

    The socket's peer is who made it. That is clamd, or systemd when it starts clamd on demand: then one that runs is it.
    """
    peer = _peer(path)
    if _is_clamd(Path(f"/proc/{peer}")):
        return peer
    for folder in Path("/proc").iterdir():
        if peer == 1 and folder.name.isdigit() and _is_clamd(folder):
            return int(folder.name)
    raise Unreadable(f"{path} is answered by process {peer}, which is no clamd")


def _peer(path: Path) -> int:
    with _connected(path) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid: int = _UCRED.unpack(credentials)[0]
    return pid


def _is_clamd(folder: Path) -> bool:
    try:
        if (folder / "comm").read_text().strip() != PROGRAM:
            return False
        return (folder / "exe").readlink().name.removesuffix(" (deleted)") == PROGRAM
    except OSError:
        return False


def _ask(path: Path, question: str) -> str:
    """One command in clamd's z form: both sides end with a NUL byte. Raises Unreadable."""
    with _connected(path) as connection:
        try:
            connection.sendall(f"z{question}\0".encode())
            answer, deadline = b"", time.monotonic() + PATIENCE
            while not answer.endswith(b"\0") and len(answer) < LONGEST_ANSWER and time.monotonic() < deadline:
                piece = connection.recv(LONGEST_ANSWER)
                if not piece:
                    break
                answer += piece
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror or 'no answer'}") from None
    return answer.rstrip(b"\0").decode("utf-8", "replace").strip()


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise Unreadable(f"{path}: {error.strerror or 'no answer'}") from None
    return connection
