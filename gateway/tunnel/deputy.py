"""A small process that opens sockets for the tunnel with two capabilities that the tunnel itself has dropped.

`wg set wg0 fwmark 1` needs CAP_NET_ADMIN (SO_MARK), so do buffers beyond the system's limit, and a port below 1024 needs
CAP_NET_BIND_SERVICE. Whoever speaks to strangers should hold neither, so this process keeps both and speaks to the
tunnel alone, over a socket pair: it takes a port and a mark, and gives sockets. It never reads a packet, holds no key,
and ends when the tunnel does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

from gateway.tunnel.opener import Here

_REQUEST = struct.Struct("=HI")
"""Port and mark. With descriptors, these are marked; without, new ones are opened."""
_ANSWER = struct.Struct("=i")
"""An errno; with 0 come the new descriptors."""
BOTH = 2
"""Sockets: IPv4 and IPv6."""


class Deputy:
    """The tunnel's end: an `Opener`."""

    def __init__(self, confine: Callable[[], None]) -> None:
        """Start it. `confine` is what it does first, with nothing but its socket open."""
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if not self._pid:
            _live(theirs, confine)
        theirs.close()

    def open(self, port: int, fwmark: int) -> list[socket.socket]:
        sockets = [socket.socket(fileno=each) for each in self._ask(port, fwmark, [])]
        for each in sockets:
            each.setblocking(False)  # they are; now Python knows it too
        return sockets

    def mark(self, sockets: list[socket.socket], fwmark: int) -> None:
        self._ask(0, fwmark, [each.fileno() for each in sockets])

    def _ask(self, port: int, fwmark: int, descriptors: list[int]) -> list[int]:
        socket.send_fds(self._sock, [_REQUEST.pack(port, fwmark)], descriptors)
        answer, received, _, _ = socket.recv_fds(self._sock, _ANSWER.size, BOTH)
        number = _ANSWER.unpack(answer)[0] if answer else errno.EPIPE
        if number:
            raise OSError(number, os.strerror(number))
        return received

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._sock.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _live(sock: socket.socket, confine: Callable[[], None]) -> None:
    """Be the deputy: everything else that the parent had open is closed first. Does not return."""
    status = 1
    try:
        os.setsid()  # Ctrl-C is the tunnel's to hear
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        mine = os.dup2(sock.fileno(), 3, inheritable=False)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(mine + 1, os.sysconf("SC_OPEN_MAX"))
        confine()
        _serve(socket.socket(fileno=mine))
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def _serve(sock: socket.socket) -> None:
    opener = Here()
    while True:
        request, descriptors, _, _ = socket.recv_fds(sock, _REQUEST.size, BOTH)
        if not request:
            return
        port, fwmark = _REQUEST.unpack(request)
        given = [socket.socket(fileno=each) for each in descriptors]
        try:
            made = [] if given else opener.open(port, fwmark)
            opener.mark(given, fwmark)
        except OSError as error:
            sock.send(_ANSWER.pack(error.errno or errno.EIO))
        else:
            socket.send_fds(sock, [_ANSWER.pack(0)], [each.fileno() for each in made])
        for each in (*given, *made):
            each.close()
