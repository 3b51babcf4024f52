"""What the kernel tells over netlink: rules, links with their addresses and routes, disks that come and go.

A watcher tells nothing about what changed: the collector reads that. What it was told is checked only as far as it saves
a needless look.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_KOBJECT_UEVENT = 0, 12, 15
NFNLGRP_NFTABLES: Final = 7
LINKS_ADDRESSES_ROUTES: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE (rtnetlink(7))."""
KERNEL_EVENTS: Final = 1
"""Group 1 is the kernel's own; group 2 is udevd's, later and in another format."""
BUFFER: Final = 1 << 18


class NetlinkWatch:
    """Readable when something has changed."""

    def __init__(self, protocol: int, groups: int, concerns: frozenset[str], *, about: bytes = b"") -> None:
        """`about` is what a message must contain to count. Raises OSError when the kernel has no such thing."""
        self.concerns = concerns
        self._about = about
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setblocking(False)
        try:
            self._socket.bind((0, groups))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take what came. Says whether it counts; an overrun (ENOBUFS) does."""
        changed = False
        while True:
            try:
                message = self._socket.recv(BUFFER)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return True
                changed = True
            else:
                changed |= self._about in message

    def close(self) -> None:
        self._socket.close()


class FirewallWatch(NetlinkWatch):
    """nftables, the moment a change is committed. Rules of iptables-legacy are not told; the heartbeat finds those."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER, 1 << (NFNLGRP_NFTABLES - 1), frozenset({"firewall"}))


class NetworkWatch(NetlinkWatch):
    """Links, addresses and routes."""

    def __init__(self) -> None:
        super().__init__(NETLINK_ROUTE, LINKS_ADDRESSES_ROUTES, frozenset({"network"}))


class DiskWatch(NetlinkWatch):
    """Block devices, the moment the kernel makes or removes them."""

    def __init__(self) -> None:
        super().__init__(NETLINK_KOBJECT_UEVENT, KERNEL_EVENTS, frozenset({"disk"}), about=b"\0SUBSYSTEM=block\0")
