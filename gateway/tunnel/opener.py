"""UDP sockets, opened: both families on one port, with large buffers, GRO and the filter. Some of it wants privilege."""

from __future__ import annotations

import contextlib
import socket
from typing import Final, Protocol

from gateway.tunnel import filter as socket_filter

UDP_GRO: Final = 104
BUFFER = 7 << 20
"""Bytes of socket buffer that are asked for; the kernel may give less."""
_FORCED = ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32))
"""SO_*BUFFORCE goes over the system's limit, with CAP_NET_ADMIN."""


class Opener(Protocol):
    """Who opens sockets and marks them: this process itself, or the deputy that kept the privilege for it."""

    def open(self, port: int, fwmark: int) -> list[socket.socket]:
        """Bind to the port, 0 takes a free one: IPv4 first, then IPv6 where the host has it. Raises OSError."""

    def mark(self, sockets: list[socket.socket], fwmark: int) -> None:
        """Set SO_MARK of what they send, for policy routing; 0 takes it away. Raises OSError."""


class Here:
    """This process opens them, with the privilege that it has."""

    def open(self, port: int, fwmark: int) -> list[socket.socket]:
        sockets: list[socket.socket] = []
        try:
            _bind(sockets, port)
            self.mark(sockets, fwmark)
        except OSError:
            for each in sockets:
                each.close()
            raise
        return sockets

    def mark(self, sockets: list[socket.socket], fwmark: int) -> None:
        for each in sockets:
            if fwmark or each.getsockopt(socket.SOL_SOCKET, socket.SO_MARK):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)


def _bind(sockets: list[socket.socket], port: int) -> None:
    v4 = _socket(socket.AF_INET)
    sockets.append(v4)
    v4.bind(("0.0.0.0", port))  # noqa: S104  a WireGuard endpoint listens on every address
    try:
        v6 = _socket(socket.AF_INET6)
    except OSError:
        return
    sockets.append(v6)
    v6.bind(("::", v4.getsockname()[1]))


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    socket_filter.attach(sock)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option, forced in _FORCED:
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    with contextlib.suppress(OSError):  # before Linux 5.0: every datagram is a train of one
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    return sock
