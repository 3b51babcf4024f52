"""Numbered packets: datagrams to udp/7 and records in a long-lived TCP flow, so that a loss has a number and a time."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

ECHO_PORT = 7
RECORDS_PORT = 5432
RATE = 125
"""Numbered packets per second, to each server and each way in the TCP flow: 8 ms is the resolution of what is measured."""

_RECORD = struct.Struct("!4sQ20x")
_MAGIC = b"SPdp"
SIZE = _RECORD.size


def record(number: int) -> bytes:
    """The numbered packet: 32 bytes."""
    return _RECORD.pack(_MAGIC, number)


def numbers(payload: bytes | memoryview) -> list[int]:
    """The numbers of the records that a payload carries; a payload that carries none of ours yields none."""
    whole = len(payload) - len(payload) % SIZE
    found = (_RECORD.unpack_from(payload, offset) for offset in range(0, whole, SIZE))
    return [number for magic, number in found if magic == _MAGIC]


class Ticker:
    """Wakes `RATE` times a second; a late wake is not made up for, because a burst would hide a gap."""

    def __init__(self, rate: int = RATE) -> None:
        self._period = 1 / rate
        self._next = time.monotonic()

    def wait(self, stopped: threading.Event) -> bool:
        """Sleep to the next tick. False once `stopped` is set."""
        self._next = max(self._next + self._period, time.monotonic())
        return not stopped.wait(self._next - time.monotonic())


class Stream:
    """One end of the long-lived TCP flow: writes numbered records and reads the other's until the flow ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stopped = threading.Event()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Write and read until the other end closes, the connection fails, or `stop`."""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        ticker, number = Ticker(), 0
        with self._connection, contextlib.suppress(OSError):
            while ticker.wait(self._stopped):
                self._connection.sendall(record(number))
                number += 1

    def stop(self) -> None:
        """End the flow from this side, also while a write waits for a peer that is cut off."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._connection.recv(65536):
                pass
        self._stopped.set()
