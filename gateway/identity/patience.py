"""A limit for the part of a request before its answer's headers are there.

A provider that sends its headers byte by byte resets every timeout of the socket; this one counts from the request.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any

OPENED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Patience:
    """Cuts the connection of one request after so many seconds, unless the block is left before."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The `trace` extension of the request: learn which socket it runs over."""
        if event in OPENED:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.over:
                self._cut()

    def _cut(self) -> None:
        self.over = True
        if isinstance(self._socket, socket.socket):
            with contextlib.suppress(OSError):  # it is closed already
                socket.socket.shutdown(
                    self._socket, socket.SHUT_RDWR
                )  # of TLS too: below the layer that may be reading

    def __enter__(self) -> Patience:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
