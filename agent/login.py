"""Logging in: a browser does it, and comes back to a loopback port that only this process listens on (RFC 8252)."""

from __future__ import annotations

import contextlib
import hmac
import http.server
import threading
import time
import webbrowser
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.client import Gateway
from agent.errors import AgentError, Problem, Unreachable

PATIENCE = 600.0
"""Seconds for a person to log in: as long as the gateway keeps the enrolment."""
SLOWER = 5
"""Seconds more between two questions when the gateway says so (RFC 8628 section 3.5)."""
LONGEST_INTERVAL = 60
PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Sallyport</title>
<p>You are logged in. You can close this window.</p></html>
"""


def log_in(
    gateway: Gateway,
    name: str,
    *,
    tell: Callable[[str], None],
    browser: bool,
    resource: str | None = None,
    patience: float = PATIENCE,
) -> str:
    """Log in on this device and enrol it when it is new. Gives the user. Raises AgentError.

    `tell` is given the address for the browser; `browser` also opens it. `resource` is what the login shall open.
    """
    with _Loopback() as loopback:
        enrolment, url = gateway.begin_enrolment(name, loopback.address, resource)
        loopback.expect(enrolment)
        tell(url)
        if browser:
            threading.Thread(target=_open, args=(url,), daemon=True).start()
        code = loopback.wait(patience)
    return gateway.confirm_enrolment(enrolment, code)


def log_in_elsewhere(
    gateway: Gateway,
    name: str,
    *,
    tell: Callable[[str, str], None],
    resource: str | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Log in by a code that a person types into a browser on another machine. Gives the user. Raises AgentError.

    `tell` is given the address and the code.
    """
    enrolment, address, code, interval = gateway.begin_device_grant(name, resource)
    tell(address, code)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        wait(interval)
        try:
            return gateway.poll_device_grant(enrolment)
        except Problem as problem:
            if problem.code == "slow_down":
                interval += SLOWER
            elif problem.code == "enrolment-unknown":
                raise AgentError("the login was refused or took too long: begin again") from None
            elif problem.code != "authorization_pending" and problem.status < 500:
                raise
        except Unreachable:
            interval = min(interval * 2, LONGEST_INTERVAL)  # RFC 8628 section 3.5: back off, but go on
    raise AgentError(f"nobody has logged in within {PATIENCE:.0f} s: begin again")


def _open(url: str) -> None:
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(url)


class _Loopback:
    """The port that the browser comes back to. It answers one address, once."""

    def __init__(self) -> None:
        loopback = self
        self._came = threading.Event()
        self._enrolment = ""
        self._code = ""

        class Answer(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                ok = loopback._take(self.path)
                self.send_response(200 if ok else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(PAGE if ok else b"not here\n")

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing: the address holds a secret."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def expect(self, enrolment: str) -> None:
        """Name the one enrolment whose code is taken, and begin to listen."""
        self._enrolment = enrolment
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def wait(self, patience: float) -> str:
        """Give the code. Raises AgentError when nobody has logged in after `patience` seconds."""
        if not self._came.wait(patience):
            raise AgentError(f"nobody has logged in within {patience:.0f} s: begin again")
        return self._code

    def _take(self, path: str) -> bool:
        asked = urlsplit(path)
        given = parse_qs(asked.query)
        enrolment, code = given.get("enrolment", [""])[0], given.get("code", [""])[0]
        if asked.path != "/" or not code or not hmac.compare_digest(enrolment.encode(), self._enrolment.encode()):
            return False
        self._code = code
        self._came.set()
        return True

    def __enter__(self) -> _Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        if self._enrolment:
            self._server.shutdown()
        self._server.server_close()
