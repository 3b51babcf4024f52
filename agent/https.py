"""One HTTP/1.1 connection to the gateway, by the standard library: kept open, bounded in bytes and time, never redirected.

The agent speaks to one host it has chosen, with small bodies; a client library would double what the process holds. A
connection that the other end has closed meanwhile is opened anew before anything is sent; nothing is ever sent twice.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

CONNECT_WITHIN: Final = 5.0
PIECE: Final = 1 << 16


class _Bounded:
    """A socket whose reads end at a deadline: an answer that comes byte by byte must not keep the agent from its work."""

    deadline: float | None = None
    settimeout: Callable[[float | None], None]

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            self.settimeout(left)
        return int(super().recv_into(*arguments, **named))  # type: ignore[misc]


class _PlainSocket(_Bounded, socket.socket):
    """For a gateway on the loopback."""


class _TlsSocket(_Bounded, ssl.SSLSocket):
    """Made by the context."""


class Connection:
    """Requests to one origin, one after the other, from one thread. `mark` is put on the socket where that is allowed."""

    def __init__(
        self, url: str, trust: ssl.SSLContext, *, mark: int, find: Callable[[str, int], list[tuple[Any, ...]]]
    ) -> None:
        """`find` gives the addresses of a host as getaddrinfo(3) does."""
        parts = urlsplit(url)
        self._host = str(parts.hostname)
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = trust if parts.scheme == "https" else None
        self._name = parts.netloc
        self._mark = mark
        self._find = find
        self._socket: Any = None
        self._busy = False
        self.closed = False

    @contextlib.contextmanager
    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", within: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give the answer's beginning. Raises OSError or HTTPException.

        The answer is read inside the `with`; one that was not read to its end costs the connection.
        """
        answer, whole, self._busy = None, False, True
        try:
            connection = self._open()
            connection.deadline = time.monotonic() + within
            connection.settimeout(within)
            connection.sendall(self._head(method, path, headers, len(body)) + body)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            if len(set(answer.headers.get_all("content-length", ["0"]))) > 1:
                raise http.client.HTTPException("the answer has two lengths")  # RFC 9110 8.6: not to be guessed
            yield answer
            whole = answer.isclosed()
        finally:
            self._busy = False
            if answer is not None:
                answer.close()
            if answer is None or not whole or answer.will_close or self.closed:
                self._drop()

    def close(self) -> None:
        """Close for good, also from another thread: what it waits for ends now."""
        self.closed = True
        with contextlib.suppress(OSError, AttributeError):  # the latter when its thread has just let go of it
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self._busy:
            self._drop()

    def extend(self, seconds: float) -> None:
        """For a stream: the next bytes may take so long."""
        if self._socket is not None:
            self._socket.deadline = time.monotonic() + seconds

    def strayed(self) -> bool:
        """Whether the way to the gateway begins at another address now: the connection leads nowhere, and is let go."""
        here = self._socket
        if here is None:
            return False
        try:
            with socket.socket(here.family, socket.SOCK_DGRAM) as asking:
                with contextlib.suppress(OSError):
                    asking.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
                asking.connect(here.getpeername())
                same = asking.getsockname()[0] == here.getsockname()[0]
        except OSError:
            same = False
        if not same:
            with contextlib.suppress(OSError):
                here.shutdown(socket.SHUT_RDWR)  # whoever waits for it, in whichever thread, wakes now
        return not same

    def _open(self) -> Any:
        if self.closed:
            raise OSError("closed")
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self._drop()  # the other end has closed it, or has said what nobody asked
        if self._socket is None:
            self._socket = self._connected()
        return self._socket

    def _connected(self) -> Any:
        failure: OSError = OSError("the name has no address")
        for family, _, _, _, address in self._find(self._host, self._port):
            plain = _PlainSocket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(CONNECT_WITHIN)
                with contextlib.suppress(
                    OSError
                ):  # without the privilege, the gateway must not lie behind its own tunnel
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self._host)
            except OSError as error:
                plain.close()
                failure = error
        raise failure

    def _head(self, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        named = {"host": self._name, "accept-encoding": "identity", **headers}
        if method == "POST":
            named["content-length"] = str(length)
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a line of a request has a line break")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _drop(self) -> None:
        dropped, self._socket = self._socket, None
        if dropped is not None:
            with contextlib.suppress(OSError):
                dropped.close()


def trusting(authority: str | None) -> ssl.SSLContext:
    """A context that checks name and date, by one authority alone or by what the machine trusts. Raises OSError."""
    context = ssl.create_default_context(cafile=authority)
    context.sslsocket_class = _TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
