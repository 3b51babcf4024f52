"""An enrolled agent's key, and a server on loopback that answers as a test says."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.device_key import DeviceKey

Request = http.server.BaseHTTPRequestHandler
Answer = Callable[[Request], None]


class Server:
    """One HTTP server; `answer` is called for every request, `asked` remembers them."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        server = self
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Answer = lambda request: request.send_error(500)
        self.released = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, ValueError):  # the client has had enough
                    self.close_connection = True

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                server.answer(self)

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, format: str, *arguments: object) -> None:
                """Tests look at `asked`."""

        class Threads(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that trusts nobody hangs up: that is the test's business."""

        self._server = Threads(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def device_key() -> DeviceKey:
    return DeviceKey(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"
