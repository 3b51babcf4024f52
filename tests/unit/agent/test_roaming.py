"""When the network is another one: which address of the gateway the tunnel sends to, and which connections are let go."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent import tunnel, uapi
from agent.client import Gateway
from agent.device_key import DeviceKey
from agent.errors import AgentError
from agent.footprint import Footprint
from agent.tunnel import Tunnel
from agent.wire import TunnelConfig
from tests.unit.agent.conftest import Server
from tests.unit.agent.test_answers import TUNNEL
from tests.unit.agent.test_client import VERDICT, says_json


class Configured:
    """A WireGuard that remembers where it sends."""

    name = "configured"

    def __init__(self) -> None:
        self.endpoints: list[str] = []

    def start(self, interface: str) -> None:
        """It needs nothing."""

    def configure(self, interface: str, private_key: bytes, config: TunnelConfig, endpoint: str) -> None:
        self.endpoints.append(endpoint)

    def peer(self, interface: str) -> uapi.PeerState | None:
        return None

    def stop(self) -> None:
        """It has nothing."""


def test_a_change_of_address_family_moves_the_tunnel_and_no_change_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ["198.51.100.1"]

    def look(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if not found:
            raise OSError("no network")
        return [(0, 0, 0, "", (found[0], port))]

    monkeypatch.setattr(tunnel.socket, "getaddrinfo", look)
    made, backend = Tunnel("spx", None, Footprint(tmp_path)), Configured()
    assert not made.roam(), "there is no tunnel yet"
    config = TunnelConfig.from_json({**TUNNEL, "endpoint": "gateway.example:51820"})
    made._backend, made._config, made._endpoint = backend, config, "198.51.100.1:51820"
    assert not made.roam()
    found[0] = "2001:db8::1"
    assert made.roam()
    assert backend.endpoints == ["[2001:db8::1]:51820"]
    found.clear()
    assert not made.roam(), "without a network the next change asks again"
    assert backend.endpoints == ["[2001:db8::1]:51820"]


def test_a_connection_is_let_go_when_its_own_address_is_not_the_way_any_more(
    server: Server, device_key: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda request: says_json(request, VERDICT, status=201)
    gateway = Gateway(server.url, device_key, None)
    assert not gateway.strayed(), "there is none yet"
    gateway.begin_session("")
    assert not gateway.strayed()
    real = socket.socket.getsockname
    plain = type(gateway._client._socket)
    monkeypatch.setattr(plain, "getsockname", lambda self: ("192.0.2.7", real(self)[1]), raising=False)
    assert gateway.strayed()
    monkeypatch.undo()
    gateway.begin_session("")
    assert len(server.asked) == 2
    gateway.close()


def test_an_endpoint_that_is_found_nowhere_is_one_clear_error() -> None:
    with pytest.raises(AgentError, match="cannot be found"):
        tunnel._resolved("gateway.invalid:51820")
