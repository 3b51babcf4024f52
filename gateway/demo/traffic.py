"""What the laptop sends, all the time and to everybody: numbered probes to each server, and one long TCP flow to payroll.

It keeps on sending whatever happens; what arrives is for the witness to say.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Mapping

from gateway.demo.namespaces import Host
from gateway.demo.office import HTTP_PORT
from gateway.demo.records import ECHO_PORT, RECORDS_PORT, Stream, Ticker, record


class Probes:
    """Numbered datagrams from one host to udp/7 of each server, `RATE` a second each, until `close`."""

    def __init__(self, host: Host, servers: Mapping[str, str]) -> None:
        with host.entered():
            self._sockets = [(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), server) for server in servers.values()]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True, name="probes")
        self._thread.start()

    def close(self) -> None:
        """Stop sending."""
        self._stopped.set()
        self._thread.join()
        for probe, _ in self._sockets:
            probe.close()

    def _send(self) -> None:
        ticker, number = Ticker(), 0
        while ticker.wait(self._stopped):
            for probe, server in self._sockets:
                with contextlib.suppress(OSError):  # no route while there is no tunnel
                    probe.sendto(record(number), (server, ECHO_PORT))
            number += 1


class Flow:
    """One TCP connection to the record stream of a server, written and read until it ends or `close`."""

    def __init__(self, host: Host, server: str) -> None:
        """Raises OSError when the server cannot be reached within 5 s."""
        with host.entered():
            connection = socket.create_connection((server, RECORDS_PORT), timeout=5.0)
        connection.settimeout(None)
        self.port: int = connection.getsockname()[1]
        """Names the flow in packets: its port on the laptop."""
        self._stream = Stream(connection)
        self._thread = threading.Thread(target=self._stream.run, daemon=True, name="flow")
        self._thread.start()

    def alive(self) -> bool:
        """Whether the connection still stands, as far as this end knows."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the flow."""
        self._stream.stop()
        self._thread.join(5.0)


def read_page(host: Host, server: str, *, timeout: float = 5.0) -> str:
    """The page of a web server as a program on `host` gets it. Raises OSError when it cannot be read in time."""
    with host.entered():
        connection = http.client.HTTPConnection(server, HTTP_PORT, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
