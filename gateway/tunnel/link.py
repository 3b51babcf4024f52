"""One attribute of a network interface that has no ioctl: set by rtnetlink(7), so that ip(8) is not needed."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

RTM_NEWLINK: Final = 16
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR: Final = 2
IFLA_GSO_MAX_SEGS: Final = 40
_HEADER = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HHI")
_ERROR = struct.Struct("=i")


def limit_segments(interface: str, count: int) -> None:
    """Let the kernel put at most `count` packets into a super-packet for this interface. Raises OSError."""
    body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(interface), 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size, IFLA_GSO_MAX_SEGS, count)
    flags = NLM_F_REQUEST | NLM_F_ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), RTM_NEWLINK, flags, 1, 0) + body)
        answer = netlink.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    (error,) = _ERROR.unpack_from(answer, _HEADER.size)
    if kind == NLMSG_ERROR and error:
        raise OSError(-error, os.strerror(-error), interface)
