"""The system bus, listened to: services that start and stop, screens that lock (D-Bus specification, message protocol).

It calls three methods, reads the header of what comes, and answers nobody. Which messages come at all is decided by the
bus, from our match rules: what does not concern us does not wake us.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SYSTEM_BUS: Final = Path("/run/dbus/system_bus_socket")
PATIENCE: Final = 2.0
LARGEST: Final = 1 << 20
"""Bytes of a message; signals have some hundred."""
CALL, SIGNAL = 1, 4
FIELDS: Final = {"path": (1, b"o"), "interface": (2, b"s"), "member": (3, b"s"), "destination": (6, b"s")}
SIGNATURE: Final = 8
BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
SYSTEMD: Final = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
UNITS: Final = {
    "antivirus": ("clamav-daemon.service", "clamav-clamonacc.service", "clamd@scan.service", "mdatp.service"),
    "firewall": ("nftables.service", "ufw.service", "firewalld.service", "netfilter-persistent.service"),
}
"""Whose start and end concerns which collector."""
LOGIN: Final = "sender='org.freedesktop.login1',type='signal'"
CHANGED: Final = "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'"


class BusWatch:
    """Readable when a service that matters has started or ended, or a session has come, gone or locked."""

    def __init__(self, bus: Path = SYSTEM_BUS) -> None:
        """Raises OSError when there is no bus, or it does not let us listen."""
        self.concerns: frozenset[str] = frozenset()
        self._buffer = b""
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.connect(str(bus))
            self._authenticate()
            self._call(BUS, "Hello")
            for rule in rules():
                self._call(BUS, "AddMatch", rule)
            self._call(SYSTEMD, "Subscribe")  # systemd says nothing to a bus on which nobody asked
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take what came. Says whether a signal of ours was among it; `concerns` then names the collectors.

        Raises OSError when the bus is gone.
        """
        with contextlib.suppress(BlockingIOError):
            while piece := self._socket.recv(1 << 16):
                self._buffer += piece
            raise OSError("the bus has gone")
        found: set[str] = set()
        for message in self._messages():
            found |= concerned(message)
        self.concerns = frozenset(found)
        return bool(found)

    def close(self) -> None:
        self._socket.close()

    def _authenticate(self) -> None:
        """SASL EXTERNAL: the kernel says who we are."""
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        if not self._socket.recv(512).startswith(b"OK "):
            raise OSError("the bus does not let us in")
        self._socket.sendall(b"BEGIN\r\n")

    def _call(self, whom: tuple[str, str, str], member: str, *texts: str) -> None:
        self._serial += 1
        destination, path, interface = whom
        self._socket.sendall(
            message(
                CALL,
                self._serial,
                path=path,
                interface=interface,
                member=member,
                destination=destination,
                arguments=texts,
            )
        )

    def _messages(self) -> Iterator[bytes]:
        while len(self._buffer) >= 16:
            body, fields = struct.unpack_from("<I4xI", self._buffer, 4)
            whole = 16 + fields + -fields % 8 + body
            if self._buffer[:1] != b"l" or whole > LARGEST:
                raise OSError("the bus says what cannot be read")
            if len(self._buffer) < whole:
                return
            yield self._buffer[:whole]
            self._buffer = self._buffer[whole:]


def rules() -> Iterator[str]:
    """What we want to hear."""
    removed = "sender='org.freedesktop.systemd1',type='signal',member='JobRemoved'"
    for units in UNITS.values():
        yield from (f"{removed},arg2='{unit}'" for unit in units)
    yield f"{LOGIN},{CHANGED},path_namespace='/org/freedesktop/login1/session'"
    for member in ("SessionNew", "SessionRemoved"):
        yield f"{LOGIN},member='{member}'"


def concerned(data: bytes) -> frozenset[str]:
    """Which collectors a message concerns; none when it is no signal that we asked for."""
    if data[1] != SIGNAL:
        return frozenset()
    found = {name for name, units in UNITS.items() if any(unit.encode() + b"\0" in data for unit in units)}
    if b"/org/freedesktop/login1" in data:
        found.add("screen")
    return frozenset(found)


def message(kind: int, serial: int, *, arguments: tuple[str | int, ...] = (), **named: str) -> bytes:
    """A message whose arguments are texts and whole numbers. `named`: path, interface, member, destination."""
    body = b""
    for each in arguments:
        body += bytes(-len(body) % 4) + (_text(each) if isinstance(each, str) else struct.pack("<I", each))
    fields = b""
    for name, value in named.items():
        code, kind_of = FIELDS[name]
        fields += bytes(-len(fields) % 8) + struct.pack("<BB", code, 1) + kind_of + b"\0" + _text(value)
    if arguments:
        signature = "".join("s" if isinstance(each, str) else "u" for each in arguments).encode()
        fields += (
            bytes(-len(fields) % 8)
            + struct.pack("<BB", SIGNATURE, 1)
            + b"g\0"
            + bytes([len(signature)])
            + signature
            + b"\0"
        )
    head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), serial, len(fields)) + fields
    return head + bytes(-len(head) % 8) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"
