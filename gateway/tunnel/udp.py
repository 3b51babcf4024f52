"""The UDP sockets, IPv4 and IPv6 on one port: trains in and out with GRO and GSO (udp(7))."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

from gateway.tunnel import filter as socket_filter
from gateway.wireguard.config import Endpoint
from gateway.wireguard.outbox import Transmit

UDP_SEGMENT, UDP_GRO = 103, 104
BUFFER = 7 << 20
"""Bytes of socket buffer that are asked for; the kernel may give less."""
TRAIN = 65_536
_ANCILLARY = socket.CMSG_SPACE(4)
_SEGMENT = struct.Struct("=H")
_GRO = struct.Struct("=i")
_NO_OFFLOAD = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT)


class UdpSockets:
    """Both families on the same port. IPv6 is left out where the host has none."""

    def __init__(self, port: int = 0, fwmark: int = 0) -> None:
        """Bind; port 0 takes a free one. Raises OSError, for example EADDRINUSE."""
        self._segmentation = True
        self.sockets: list[socket.socket] = []
        try:
            self._bind(port)
        except OSError:
            self.close()
            raise
        self.mark(fwmark)

    @property
    def dropped(self) -> int:
        """What the kernel dropped: malformed, or no room in the buffer."""
        return sum(socket_filter.dropped(each) for each in self.sockets)

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    def _bind(self, port: int) -> None:
        v4 = _open(socket.AF_INET)
        self.sockets.append(v4)
        v4.bind(("0.0.0.0", port))  # noqa: S104  a WireGuard endpoint listens on every address
        try:
            v6 = _open(socket.AF_INET6)
        except OSError:
            return
        self.sockets.append(v6)
        v6.bind(("::", self.port))

    def mark(self, fwmark: int) -> None:
        """Set SO_MARK of what is sent, for policy routing; 0 takes it away."""
        for each in self.sockets:
            if fwmark or each.getsockopt(socket.SOL_SOCKET, socket.SO_MARK):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, fwmark)

    def receive(self, sock: socket.socket, buffer: bytearray) -> tuple[int, int, Endpoint] | None:
        """Read one train into `buffer`: its length, the size of its datagrams, and where it came from."""
        try:
            size, ancillary, _, source = sock.recvmsg_into([buffer], _ANCILLARY)
        except OSError:
            return None  # nothing there, or an ICMP error that belongs to no peer
        segment = next((_GRO.unpack(data)[0] for level, kind, data in ancillary if kind == UDP_GRO and level), size)
        return size, segment, source

    def send(self, transmit: Transmit) -> bool:
        """Send one train. Raises BlockingIOError when the buffer is full; False when the network refuses it."""
        sock = self._for(transmit.endpoint)
        if sock is None:
            return False
        if self._segmentation and transmit.size > transmit.segment:
            try:
                control = [(socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(transmit.segment))]
                sock.sendmsg(transmit.buffers, control, 0, transmit.endpoint)
                return True
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno not in _NO_OFFLOAD:
                    return False
                self._segmentation = error.errno != errno.EIO  # the device cannot checksum: it never will
        return self._send_singly(sock, transmit)

    def _send_singly(self, sock: socket.socket, transmit: Transmit) -> bool:
        try:
            for datagram in transmit.datagrams():
                sock.sendto(datagram, transmit.endpoint)
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True

    def _for(self, endpoint: Endpoint) -> socket.socket | None:
        if len(endpoint) == 2:
            return self.sockets[0]
        return self.sockets[1] if len(self.sockets) > 1 else None

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def _open(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    socket_filter.attach(sock)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option, forced in ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER)  # SO_*BUFFORCE goes over the system's limit, as root
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    with contextlib.suppress(OSError):  # before Linux 5.0: every datagram is a train of one
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    return sock
