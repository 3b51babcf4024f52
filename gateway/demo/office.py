"""The office: a wiki, a payroll and a remediation server, each a real one on its own address.

    python -m gateway.demo.office wiki=10.20.0.10 payroll=10.20.5.10 remediation=10.20.9.10

Every server answers tcp/80 (one page) and udp/7 (echo, RFC 862); payroll also speaks the numbered record stream on
tcp/5432: it sends its own records all the time and reads those of the client.
"""

from __future__ import annotations

import http.server
import socket
import socketserver
import sys
import threading
from collections.abc import Sequence
from typing import Any

from gateway.demo.records import ECHO_PORT, RECORDS_PORT, Stream

HTTP_PORT = 80

PAGES = {
    "wiki": "Welcome to the wiki.\n",
    "payroll": "Payroll: 42 salaries, all paid.\n",
    "remediation": "Remediation: repair your machine here.\n",
}


class _Pages(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, page: str) -> None:
        self.address, self.page = address, page.encode()
        super().__init__((address, HTTP_PORT), _Page)

    def server_bind(self) -> None:
        """Without the standard library's reverse lookup of the address: the office has no name server to wait for."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.address, HTTP_PORT


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Pages)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.page)))
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, format: str, *arguments: Any) -> None:
        """The witness on the wire says what arrived, not the server."""


class _Records(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Recorder(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        Stream(self.request).run()


def echo(server: socket.socket) -> None:
    """Answer every datagram with itself, for ever."""
    while True:
        datagram, source = server.recvfrom(65535)
        try:
            server.sendto(datagram, source)
        except OSError:
            continue  # an unreachable client is the client's loss


def open_for_business(name: str, address: str) -> None:
    """Start the servers of one name in threads."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, ECHO_PORT))
    work = [lambda: echo(udp), _Pages(address, PAGES[name]).serve_forever]
    if name == "payroll":
        work.append(_Records((address, RECORDS_PORT), _Recorder).serve_forever)
    for each in work:
        threading.Thread(target=each, daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal ends the process."""
    for argument in arguments:
        name, _, address = argument.partition("=")
        open_for_business(name, address)
    print("office open", file=sys.stderr, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
