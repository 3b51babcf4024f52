"""A tunnel without TUN and UDP: the real interface and the real text protocol on a real unix socket, on a clock of its own."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from gateway.wireguard.config import InterfaceStatus, PeerStatus
from gateway.wireguard.interface import Interface
from gateway.wireguard.uapi import UapiError, format_get, parse_set


class SimulatedTunnel:
    """Serves UAPI until it is stopped. `now` is its boottime in seconds and stands still unless somebody turns it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_000.0
        self.requests: list[str] = []
        self._thread: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        """Begin with nothing configured, as a process that has just started."""
        self.interface = Interface(now=self.now, unix_time=1_800_000_000.0, entropy=bytes)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Go away, as a process that was killed and whose socket was removed."""
        if self._thread is None:
            return
        self.path.unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._thread = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def status(self) -> InterfaceStatus:
        return self.interface.status(now=self.now)

    def peer(self, public_key: bytes) -> PeerStatus | None:
        return next((peer for peer in self.status().peers if peer.public_key == public_key), None)

    def permits(self, public_key: bytes) -> set[str] | None:
        """What the peer may reach, as text; None when there is no such peer."""
        peer = self.peer(public_key)
        if peer is None:
            return None
        assert peer.permits is not None, "a peer of ours is never stock WireGuard"
        return {str(permit) for permit in peer.permits}

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                data = bytearray()
                while not data.endswith(b"\n\n"):
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    data += piece
                else:
                    connection.sendall(self._answer(data.decode()).encode())

    def _answer(self, request: str) -> str:
        self.requests.append(request)
        first, *lines = request.strip("\n").split("\n")
        if first == "get=1":
            return format_get(self.status()) + "errno=0\n\n"
        try:
            self.interface.configure(parse_set(lines), now=self.now)
        except UapiError as error:
            return f"errno={error.errno}\n\n"
        return "errno=0\n\n"
