"""The host's own addresses, as rtnetlink(7) tells them and their changes: what a permit has to name before a peer gets there.

The socket is opened while sockets of its kind may be opened; listening needs no privilege.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final, NamedTuple

from gateway.packet.prefixes import Network

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
IFA_ADDRESS, IFA_LOCAL = 1, 2
_HEADER: Final = struct.Struct("=IHHII")
_IFADDRMSG: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")


class Address(NamedTuple):
    """An address of the interface with this index, and how long the prefix of its network is."""

    interface: int
    packed: bytes
    prefix: int


class Addresses:
    """What the host is called, kept up to date by `read`."""

    def __init__(self, interface: str) -> None:
        """Begin to listen. Raises OSError where there is no rtnetlink."""
        self._index = socket.if_nametoindex(interface)
        self._known: set[Address] = set()
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self.sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self.sock.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        self._ask()

    def _ask(self) -> None:
        size = _HEADER.size + _IFADDRMSG.size
        header = _HEADER.pack(size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        self.sock.send(header + _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))

    def read(self) -> bool:
        """Take what the kernel has told. Say whether anything is different now."""
        before = set(self._known)
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return self._known != before
            except OSError:  # ENOBUFS: something was lost, so everything is asked for again
                self._ask()
                continue
            for added, address in parse(data):
                (self._known.add if added else self._known.discard)(address)

    def guarded(self) -> list[Network]:
        """Give the networks that a permit has to name: every address of the host, and the pool on the tunnel's interface."""
        own = [ip_network(each.packed) for each in self._known]
        pools = [
            ip_network((each.packed, each.prefix), strict=False)
            for each in self._known
            if each.interface == self._index
        ]
        return own + pools

    def close(self) -> None:
        self.sock.close()


def parse(data: bytes) -> Iterator[tuple[bool, Address]]:
    """Read messages: True and an address that is there, False and one that is gone. Others are passed over."""
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
        at += (size + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
