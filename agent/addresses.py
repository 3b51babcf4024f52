"""Where the gateway is when nobody can be asked: the addresses at which it was last found.

While all DNS belongs into the tunnel and the tunnel is down, names lead nowhere. A wrong address does no harm: whoever
answers there must still show the gateway's certificate.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
from pathlib import Path
from typing import Any, Final

MOST: Final = 16


class Addresses:
    """A resolver with a memory in `file`; None has none."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def find(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """getaddrinfo(3) for TCP, or what it gave last for this name. Raises OSError."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            if known := self._known(host):
                return [each for address in known for each in _numeric(address, port)]
            raise
        self._remember(host, [str(address[0]) for *_, address in found][:MOST])
        return list(found)

    def _known(self, host: str) -> list[str]:
        return self._read().get(host, [])

    def _read(self) -> dict[str, list[str]]:
        if self._file is None:
            return {}
        try:
            members = json.loads(self._file.read_bytes())
            return {str(host): [str(ipaddress.ip_address(a)) for a in known[:MOST]] for host, known in members.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _remember(self, host: str, addresses: list[str]) -> None:
        members = self._read()
        if self._file is None or _is_address(host) or members.get(host) == addresses:
            return
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from the gateway
            fresh = self._file.with_name(self._file.name + ".new")
            fresh.write_text(json.dumps({**members, host: addresses}))
            fresh.replace(self._file)


def _numeric(address: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return False
