"""The UAPI socket: `/var/run/wireguard/<interface>.sock`, for wg(8), for the gateway and for watchers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from gateway.errors import HostError
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus
from gateway.wireguard.uapi import UapiError, format_get, parse_set

DIRECTORY = Path("/var/run/wireguard")
MAX_REQUEST = 32 << 20
"""Bytes of one request: room for 65,536 peers with some allowed IPs each."""
_SIOCGIFINDEX = 0x8933
_NAMED_SCOPE = re.compile(r"(endpoint=\[[0-9A-Fa-f:.]+%)([A-Za-z_][A-Za-z0-9_=+.-]{0,14})(\]:[0-9]+)")
MAX_UNREAD = 64 << 20
"""Bytes that wait for a client to read; a watcher that does not read is cut off."""


def socket_path(interface: str) -> Path:
    return DIRECTORY / f"{interface}.sock"


class ControlSocket:
    """The listening socket. Only its user, root and the group of its folder may connect: whoever can, holds the keys."""

    def __init__(self, interface: str) -> None:
        """Listen. Raises HostError when another process already serves this interface."""
        self._path = socket_path(interface)
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _refuse_second(self._path, interface)
            self.sock = _listen(self._path)
        except PermissionError as error:
            raise HostError(
                f"{self._path}: {error.strerror}; run `sallyport setup-host --user {os.geteuid()}` as root, "
                "and make the user a member of the folder's group"
            ) from None
        self._inode = self._path.stat().st_ino

    def exists(self) -> bool:
        """Say whether the socket is still where it was put; removing it is how an interface is taken down."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False
        except PermissionError:  # the folder was given to another user since
            return True

    def close(self) -> None:
        self.sock.close()
        with contextlib.suppress(PermissionError):  # the folder belongs to another user, and root has no power left
            if self.exists():
                self._path.unlink()


def _listen(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    before = os.umask(0o117)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    os.chown(path, -1, path.parent.stat().st_gid)
    sock.listen(16)
    return sock


def _refuse_second(path: Path, interface: str) -> None:
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()  # left behind by a process that was killed
            return
    raise HostError(f"{interface} is already served: a process listens on {path}")


def _numbered(line: str) -> str:
    """Put the number of an interface in place of its name in `endpoint=[fe80::1%eth0]:5`, which is how wg(8) says it."""
    named = _NAMED_SCOPE.fullmatch(line)
    if named is None:
        return line
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFINDEX, struct.pack("16sI20x", named[2].encode(), 0))
    return f"{named[1]}{struct.unpack('16xI20x', answer)[0]}{named[3]}"


class Client:
    """One connection: reads requests, whatever the bytes are, and queues answers."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        configure: Callable[[InterfaceConfig], None],
        status: Callable[[], InterfaceStatus],
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.watching = False
        self.closed = False
        self._configure = configure
        self._status = status
        self._input = bytearray()
        self._output = bytearray()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._output)

    def read(self) -> None:
        """Take what came, and answer every request that is whole."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._input += data
        while not self.closed and (end := self._input.find(b"\n\n")) >= 0:
            request = bytes(self._input[:end])
            del self._input[: end + 2]
            self._answer(request)
        if len(self._input) > MAX_REQUEST:
            self.closed = True

    def _answer(self, request: bytes) -> None:
        operation, *lines = request.decode("utf-8", "replace").strip("\n").split("\n")
        try:
            text = self._perform(operation, lines)
            self.push(f"{text}errno=0\n\n")
        except UapiError as error:
            self.push(f"errno={error.errno}\n\n")
        except OSError as error:
            self.push(f"errno={error.errno or errno.EIO}\n\n")

    def _perform(self, operation: str, lines: list[str]) -> str:
        match operation:
            case "get=1":
                return format_get(self._status())
            case "set=1":
                self._configure(parse_set(map(_numbered, lines)))
                return ""
            case "watch=1":
                self.watching = True
                return ""
        raise UapiError(f"unknown operation {operation[:80]!r}", errno.EPROTO)

    def push(self, text: str) -> None:
        """Queue an answer or an event, and send what the socket takes."""
        self._output += text.encode()
        self.write()

    def write(self) -> None:
        try:
            del self._output[: self.sock.send(self._output)]
        except BlockingIOError:
            self.closed = len(self._output) > MAX_UNREAD
        except OSError:
            self.closed = True
