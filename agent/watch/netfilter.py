"""Changes of the kernel's nftables rules, as netlink tells them the moment they are committed (nfnetlink, nf_tables.h).

Rules of iptables-legacy are not told; the heartbeat finds those.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

NETLINK_NETFILTER: Final = 12
NFNLGRP_NFTABLES: Final = 7
BUFFER: Final = 1 << 18


class FirewallWatch:
    """Readable when rules have changed. Tells nothing about what changed: the collector reads that."""

    concerns: Final = frozenset({"firewall"})

    def __init__(self) -> None:
        """Raises OSError when the kernel has no nfnetlink."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.setblocking(False)
        self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take what came. Says whether rules changed; an overrun (ENOBUFS) means that they did."""
        changed = False
        while True:
            try:
                self._socket.recv(BUFFER)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return True
            changed = True

    def close(self) -> None:
        self._socket.close()
