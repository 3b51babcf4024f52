"""What rtnetlink(7) tells of the host while the tunnel runs: its addresses, which a permit has to name before a peer gets
there, and the MTU of the tunnel's interface, beyond which nothing is padded.

The socket is opened while sockets of its kind may be opened; listening needs no privilege.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final, NamedTuple

from gateway.packet import ip
from gateway.packet.prefixes import Network

RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
IFA_ADDRESS, IFA_LOCAL, IFLA_MTU = 1, 2, 4
_HEADER: Final = struct.Struct("=IHHII")
_IFADDRMSG: Final = struct.Struct("=BBBBI")
_IFINFOMSG: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")


class Address(NamedTuple):
    """An address of the interface with this number, and how long the prefix of its network is."""

    interface: int
    packed: bytes
    prefix: int


class Link(NamedTuple):
    """An interface by its number, and its MTU in bytes."""

    interface: int
    mtu: int


News = tuple[bool, Address] | Link
"""True and an address that is there, False and one that is gone; or a link as it is now."""


class Surroundings:
    """Kept up to date by `read`."""

    def __init__(self, interface: str, mtu: int) -> None:
        """Begin to listen. Raises OSError where there is no rtnetlink."""
        self.mtu = mtu
        self._interface = socket.if_nametoindex(interface)
        self._known: set[Address] = set()
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self.sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self.sock.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        self._ask()

    def _ask(self) -> None:
        size = _HEADER.size + _IFADDRMSG.size
        header = _HEADER.pack(size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        self.sock.send(header + _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))

    def read(self) -> None:
        """Take what the kernel has told."""
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return
            except (
                OSError
            ):  # ENOBUFS: something was lost. What has gone may stay guarded, what is new is asked for again
                with contextlib.suppress(OSError):
                    self._ask()
                return
            for news in parse(data):
                self._take(news)

    def _take(self, news: News) -> None:
        if isinstance(news, Link):
            self.mtu = news.mtu if news.interface == self._interface else self.mtu
            return
        there, address = news
        (self._known.add if there else self._known.discard)(address)

    def guarded(self) -> frozenset[Network]:
        """Give the networks that a permit has to name: every address of the host, and the pool on the tunnel's interface."""
        pools = [each for each in self._known if each.interface == self._interface]
        return frozenset(ip_network(each.packed) for each in self._known) | frozenset(
            ip_network((each.packed, each.prefix), strict=False) for each in pools
        )

    def several(self) -> bool:
        """Say whether the host can be reached at more than one address of a family, the tunnel's own left out."""
        outer = [
            each.packed for each in self._known if each.interface != self._interface and not ip.special(each.packed)
        ]
        return any(sum(len(each) == size for each in outer) > 1 for size in (4, 16))

    def close(self) -> None:
        self.sock.close()


def parse(data: bytes) -> Iterator[News]:
    """Read messages. Those about anything else are passed over."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            return
        body = data[at + _HEADER.size : at + size]
        if kind in (RTM_NEWADDR, RTM_DELADDR) and len(body) >= _IFADDRMSG.size:
            _, prefix, _, _, interface = _IFADDRMSG.unpack_from(body)
            found = dict(_attributes(body[_IFADDRMSG.size :]))
            packed = found.get(IFA_LOCAL, found.get(IFA_ADDRESS))
            if packed is not None:
                yield kind == RTM_NEWADDR, Address(interface, packed, prefix)
        elif kind == RTM_NEWLINK and len(body) >= _IFINFOMSG.size:
            mtu = dict(_attributes(body[_IFINFOMSG.size :])).get(IFLA_MTU, b"")
            if len(mtu) == 4:
                yield Link(_IFINFOMSG.unpack_from(body)[2], int.from_bytes(mtu, sys.byteorder))
        at += (size + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
