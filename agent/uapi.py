"""WireGuard's configuration protocol from the client's side, on the unix socket of a userspace implementation."""

from __future__ import annotations

import base64
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.errors import AgentError
from agent.wire import TunnelConfig

DIRECTORY: Final = Path("/var/run/wireguard")
PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class PeerState:
    """What a tunnel says about its peer: Unix time of the last handshake (0: never) and bytes each way."""

    last_handshake: int
    rx_bytes: int
    tx_bytes: int


def socket_path(interface: str) -> Path:
    return DIRECTORY / f"{interface}.sock"


def configuration(private_key: bytes, config: TunnelConfig, endpoint: str, *, fwmark: int) -> str:
    """The request that configures our end. `endpoint` is numeric: `host:port`, the host in brackets for IPv6."""
    peer = base64.b64decode(config.public_key, validate=True)
    lines = [
        "set=1",
        f"private_key={private_key.hex()}",
        f"fwmark={fwmark}",
        "replace_peers=true",
        f"public_key={peer.hex()}",
        f"endpoint={endpoint}",
        f"persistent_keepalive_interval={config.keepalive}",
        "replace_allowed_ips=true",
        *(f"allowed_ip={route}" for route in config.routes),
    ]
    return "\n".join(lines) + "\n\n"


def ask(interface: str, request: str) -> list[tuple[str, str]]:
    """Send a request and give the answer's keys and values. Raises AgentError when it is refused or nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(socket_path(interface)))
            connection.sendall(request.encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                answer += piece
        except OSError as error:
            raise AgentError(f"the tunnel {interface} does not answer ({error.strerror or 'in time'})") from None
    pairs = [
        (key, value)
        for key, _, value in (line.partition("=") for line in answer.decode("utf-8", "replace").split("\n"))
    ]
    if ("errno", "0") not in pairs:
        raise AgentError(
            f"the tunnel {interface} refused its configuration (errno {dict(pairs).get('errno', 'missing')})"
        )
    return pairs


def peer_state(pairs: Sequence[tuple[str, str]]) -> PeerState | None:
    """Read the first peer of a `get=1` answer; None when there is none."""
    found = dict(pairs)
    if "public_key" not in found:
        return None
    numbers = [found.get(name, "0") for name in ("last_handshake_time_sec", "rx_bytes", "tx_bytes")]
    return PeerState(*(int(number) if number.isdecimal() else 0 for number in numbers))
