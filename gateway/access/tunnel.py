"""The tunnel process, seen from here: WireGuard's configuration protocol on its unix socket."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import TunnelError
from gateway.wireguard.config import InterfaceConfig, InterfaceStatus, PeerConfig
from gateway.wireguard.uapi import UapiError, format_set, parse_get

SOCKETS = Path("/var/run/wireguard")
TIMEOUT_SECONDS = 2.0
"""The tunnel answers between two batches of packets; longer means that it is stuck."""

LARGEST_ANSWER = 64 * 1024 * 1024
"""Some 50,000 peers with their permits; more is not an answer."""


class UapiTunnel:
    """One tunnel interface. Every call is one short connection; nothing is remembered between them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def identity(self) -> tuple[int, int, int] | None:
        """Name the incarnation of the tunnel: a restarted one has another socket. None: there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns

    def status(self) -> InterfaceStatus:
        """Read the interface with all of its peers. Raises TunnelError."""
        try:
            return parse_get(self._ask("get=1\n\n"))
        except UapiError as error:
            raise TunnelError(f"{self.path}: {error}") from None

    def apply(self, peers: Sequence[PeerConfig]) -> None:
        """Change these peers, in this order, in one request. Raises TunnelError."""
        if peers:
            self.configure(InterfaceConfig(peers=tuple(peers)))

    def configure(self, config: InterfaceConfig) -> None:
        """Change the interface and its peers in one request. Raises TunnelError."""
        answer = self._ask(format_set(config))
        if answer != ["errno=0"]:
            raise TunnelError(f"{self.path}: the tunnel refused the change: {' '.join(answer)[:200]}")

    def _ask(self, request: str) -> list[str]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(str(self.path))
                connection.sendall(request.encode())
                return self._answer(connection)
        except (OSError, UnicodeDecodeError) as error:
            raise TunnelError(f"{self.path}: the tunnel cannot be reached: {error}") from None

    def _answer(self, connection: socket.socket) -> list[str]:
        answer = bytearray()
        while not answer.endswith(b"\n\n"):
            piece = connection.recv(65536)
            if not piece or len(answer) > LARGEST_ANSWER:
                raise TunnelError(f"{self.path}: the tunnel did not finish its answer")
            answer += piece
        return answer.decode("ascii").splitlines()[:-1]
