"""The UDP sockets, IPv4 and IPv6 on one port: trains in and out with GRO and GSO (udp(7))."""

from __future__ import annotations

import errno
import socket
import struct

from gateway.packet.checksum import Buffer
from gateway.tunnel import filter as socket_filter
from gateway.tunnel.opener import UDP_GRO, Here, Opener
from gateway.tunnel.reached import SPACE, Reached
from gateway.wireguard.config import Endpoint
from gateway.wireguard.outbox import Transmit

UDP_SEGMENT = 103
TRAIN = 65_536
_ANCILLARY = socket.CMSG_SPACE(4) + SPACE
_SEGMENT = struct.Struct("=H")
_GRO = struct.Struct("=i")
_NO_OFFLOAD = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT)


class UdpSockets:
    """Both families on the same port. IPv6 is left out where the host has none."""

    def __init__(self, port: int = 0, fwmark: int = 0, opener: Opener | None = None) -> None:
        """Bind; port 0 takes a free one. Raises OSError, for example EADDRINUSE."""
        self._segmentation = True
        self._reached = Reached()
        self.sockets = (opener or Here()).open(port, fwmark)

    def remember_addresses(self, *, wanted: bool) -> None:
        """Answer from the address that was reached: on a host with several the kernel might choose another."""
        for each in self.sockets:
            self._reached.ask(each, wanted=wanted)

    @property
    def dropped(self) -> int:
        """What the kernel dropped: malformed, or no room in the buffer."""
        return sum(socket_filter.dropped(each) for each in self.sockets)

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    def gather(self, sock: socket.socket, buffer: memoryview, times: int) -> list[tuple[memoryview, int, Endpoint]]:
        """Read up to `times` trains, each with the size of its datagrams and where it came from.

        What goes on where the one before ended is one train: a super-packet is a little more than one recvmsg gives.
        """
        trains: list[tuple[memoryview, int, Endpoint]] = []
        begin = end = 0
        before: tuple[int, Endpoint] | None = None
        while times and end + TRAIN <= len(buffer):
            received = self.receive(sock, buffer[end:])
            if received is None:
                break
            size, segment, source = received
            if before is not None and (before != (segment, source) or (end - begin) % segment):
                trains.append((buffer[begin:end], *before))
                begin = end
            before = segment, source
            end += size
            times -= 1
        if before is not None:
            trains.append((buffer[begin:end], *before))
        return trains

    def receive(self, sock: socket.socket, buffer: bytearray | memoryview) -> tuple[int, int, Endpoint] | None:
        """Read one train into `buffer`: its length, the size of its datagrams, and where it came from."""
        try:
            size, ancillary, _, source = sock.recvmsg_into([buffer], _ANCILLARY)
        except OSError:
            return None  # nothing there, or an ICMP error that belongs to no peer
        segment = size
        for level, kind, data in ancillary:
            if kind == UDP_GRO:
                segment = _GRO.unpack(data)[0]
            else:
                self._reached.learn(source, level, data)
        return size, segment, source

    def send(self, transmit: Transmit) -> bool:
        """Send one train. Raises BlockingIOError when the buffer is full; False when the network refuses it."""
        sock = self._for(transmit.endpoint)
        if sock is None:
            return False
        if transmit.size <= transmit.segment and len(transmit.buffers) == 1:
            return self._send_one(sock, transmit.buffers[0], transmit.endpoint)
        if self._segmentation and transmit.size > transmit.segment:
            try:
                control = [(socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(transmit.segment))]
                control += self._reached.at(transmit.endpoint)
                sock.sendmsg(transmit.buffers, control, 0, transmit.endpoint)
                return True
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno not in _NO_OFFLOAD and not self._reached.at(transmit.endpoint):
                    return False
                self._segmentation = error.errno != errno.EIO  # the device cannot checksum: it never will
        return self._send_singly(sock, transmit)

    def _send_one(self, sock: socket.socket, datagram: Buffer, endpoint: Endpoint) -> bool:
        control = self._reached.at(endpoint)
        try:
            if control:
                sock.sendmsg([datagram], control, 0, endpoint)
            else:
                sock.sendto(datagram, endpoint)
        except BlockingIOError:
            raise
        except OSError:
            if not control:
                return False
            self._reached.forget(endpoint)
            return self._send_one(sock, datagram, endpoint)
        return True

    def _send_singly(self, sock: socket.socket, transmit: Transmit) -> bool:
        return all(self._send_one(sock, datagram, transmit.endpoint) for datagram in transmit.datagrams())

    def _for(self, endpoint: Endpoint) -> socket.socket | None:
        if len(endpoint) == 2:
            return self.sockets[0]
        return self.sockets[1] if len(self.sockets) > 1 else None

    def close(self) -> None:
        for each in self.sockets:
            each.close()
