"""ClamAV's daemon, asked over its own socket: does it answer, and how old are its signatures (clamd(8)); or another product.

On-access scanning is a program of its own, clamonacc(8), which asks clamd about what is opened.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent.collect.linux import endpoint
from agent.collect.linux.processes import executables
from agent.collect.reading import Unreadable, absent, stated
from agent.wire import Fact

FACTS: Final = (
    "antivirus.product",
    "antivirus.running",
    "antivirus.realtime",
    "antivirus.engine_version",
    "antivirus.signatures_at",
    "antivirus.signatures_version",
)
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
    """Ask the first clamd that answers, or else look for another product. That there is none is a fact and not an error."""
    silent = "no clamd socket was found"
    for path in sockets:
        try:
            if _ask(path, "PING") != "PONG":
                raise Unreadable(f"{path} is no clamd")
            process(path)
            return _running(path, now)
        except Unreadable as error:
            silent = str(error) if path.exists() else silent
    return _other(now) or {
        **absent((FACTS[0], *FACTS[3:]), "clamd", now, silent),
        **stated(f"clamd ({silent})", now, antivirus__running=False, antivirus__realtime=False),
    }


def _running(path: Path, now: float) -> dict[str, Fact]:
    engine, signatures, made = parse_version(_ask(path, "VERSION"))
    scanning = any(file.endswith("/clamonacc") for file in executables().values())
    return {
        **stated(str(path), now, antivirus__product="clamav", antivirus__running=True),
        **stated("clamonacc", now, antivirus__realtime=scanning),
        **stated(f"{path} VERSION", now, antivirus__engine_version=engine, antivirus__signatures_version=signatures),
        **stated(f"{path} VERSION", now, antivirus__signatures_at=made),
    }


def _other(now: float) -> dict[str, Fact] | None:
    """A known product whose own files run. Its kernel sensor sees every file; about signatures only Defender tells."""
    found = endpoint.running(executables().values(), endpoint.is_genuine)
    if found is None:
        return None
    health: dict[str, Any] = {"running": True, "realtime": True}
    source = f"processes of {found.name}"
    if found.name == "defender":
        try:
            health, source = dict(endpoint.parse_mdatp(endpoint.health())), "mdatp health"
        except Unreadable as error:
            return {
                **stated(source, now, antivirus__product=found.name),
                **absent(FACTS[1:], "mdatp health", now, str(error)),
            }
    told = {f"antivirus__{name.partition('.')[2]}": health.get(name.partition(".")[2]) for name in FACTS[1:]}
    return {**stated(source, now, antivirus__product=found.name), **stated(source, now, **told)}


def parse_version(text: str) -> tuple[str, str | None, float | None]:
    """Read `ClamAV 1.4.6/27400/Thu Nov 19 02:40:37 2026`: engine, signatures, and when these were made, in Unix seconds.

    With only local signatures the last two are missing. clamd writes the date in local time, as ctime(3) does.
    """
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        raise Unreadable("VERSION was not answered in clamd's form")
    if found["made"] is None:
        return found["engine"], None, None
    try:
        return found["engine"], found["signatures"], time.mktime(time.strptime(found["made"], "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return found["engine"], found["signatures"], None


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
