"""Which of the host's addresses each endpoint has reached, so that answers come from there (ip(7), ipv6(7): PKTINFO).

A client behind a stateful firewall hears nothing from any other address. It is only asked for on hosts with several.
"""

from __future__ import annotations

import socket
from typing import Final

from gateway.wireguard.config import Endpoint

IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
SPACE: Final = socket.CMSG_SPACE(20)
"""Bytes of ancillary data that the longer of the two takes."""
MOST: Final = 8192
"""Endpoints that are remembered; who spoofs more of them makes us forget, until the next datagram."""
Control = list[tuple[int, int, bytes]]


class Reached:
    """Ancillary data to send with, by endpoint."""

    def __init__(self) -> None:
        self._control: dict[Endpoint, Control] = {}

    def ask(self, sock: socket.socket, *, wanted: bool) -> None:
        """Have the kernel tell with every datagram at which address it came, or no longer."""
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, wanted)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, wanted)
        if not wanted:
            self._control.clear()

    def learn(self, source: Endpoint, level: int, data: bytes) -> None:
        """Note what the kernel has told about a datagram from `source`."""
        control = _control(level, data)
        if self._control.get(source) == control:
            return
        if len(self._control) >= MOST:
            del self._control[next(iter(self._control))]
        self._control[source] = control

    def at(self, endpoint: Endpoint) -> Control:
        """Give what to send with to an endpoint."""
        return self._control.get(endpoint, []) if self._control else []

    def forget(self, endpoint: Endpoint) -> None:
        """Let the kernel choose again: the address has gone, or no route leads from it."""
        self._control.pop(endpoint, None)


def _control(level: int, data: bytes) -> Control:
    if level == socket.IPPROTO_IP:  # struct in_pktinfo: interface, our address, the destination in the header
        return [(level, IP_PKTINFO, bytes(4) + data[4:8] + bytes(4))]
    is_link_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
    return [(level, IPV6_PKTINFO, data if is_link_local else data[:16] + bytes(4))]
