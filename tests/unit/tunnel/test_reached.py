"""Answers from the address that was reached: over real sockets on loopback, which has many addresses."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from gateway.tunnel import reached
from gateway.tunnel.reached import Reached
from gateway.tunnel.udp import UdpSockets
from gateway.wireguard.messages import COOKIE_REPLY, SIZES
from gateway.wireguard.outbox import Transmit

MESSAGE = COOKIE_REPLY.to_bytes(4, "little") + bytes(SIZES[COOKIE_REPLY] - 4)


@pytest.fixture
def udp() -> Iterator[UdpSockets]:
    with contextlib.closing(UdpSockets()) as sockets:
        yield sockets


def answered_from(udp: UdpSockets, client: socket.socket, address: str, train: bytes = MESSAGE) -> str:
    """Reach us at an address; where our answer to it comes from."""
    client.sendto(MESSAGE, (address, udp.port))
    select.select([udp.sockets[0]], [], [], 5)
    received = udp.receive(udp.sockets[0], bytearray(65536))
    assert received is not None
    assert udp.send(Transmit(received[2], len(MESSAGE), [train], len(train)))
    (source,) = {client.recvfrom(65536)[1][0] for _ in range(len(train) // len(MESSAGE))}
    return str(source)


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.mark.parametrize("count", [1, 3], ids=["alone", "as-a-train"])
def test_the_answer_comes_from_where_the_question_went(udp: UdpSockets, client: socket.socket, count: int) -> None:
    udp.remember_addresses(wanted=True)
    for address in ("127.0.0.7", "127.0.0.1", "127.0.0.9"):
        assert answered_from(udp, client, address, MESSAGE * count) == address


def test_where_it_is_not_asked_for_the_kernel_chooses(udp: UdpSockets, client: socket.socket) -> None:
    assert answered_from(udp, client, "127.0.0.7") == "127.0.0.1"
    udp.remember_addresses(wanted=True)
    assert answered_from(udp, client, "127.0.0.7") == "127.0.0.7"
    udp.remember_addresses(wanted=False)
    assert answered_from(udp, client, "127.0.0.7") == "127.0.0.1"


@pytest.mark.parametrize("count", [1, 3], ids=["alone", "as-a-train"])
def test_an_address_that_has_gone_is_forgotten_and_the_answer_is_sent(
    udp: UdpSockets, client: socket.socket, count: int
) -> None:
    udp.remember_addresses(wanted=True)
    here = client.getsockname()
    udp._reached.learn(here, socket.IPPROTO_IP, bytes(4) + socket.inet_aton("192.0.2.123") + bytes(4))
    assert udp.send(Transmit(here, len(MESSAGE), [MESSAGE * count], len(MESSAGE) * count))
    assert client.recvfrom(65536)[1][0] == "127.0.0.1"
    assert udp._reached.at(here) == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reached, "MOST", 10)
    known = Reached()
    for port in range(100):
        known.learn(("192.0.2.1", port), socket.IPPROTO_IP, bytes(12))
    assert [port for port in range(100) if known.at(("192.0.2.1", port))] == list(range(90, 100))


def test_of_ipv6_only_a_link_local_address_keeps_its_interface() -> None:
    known, index = Reached(), (7).to_bytes(4, "little")
    for host, packed in (("a", b"\xfe\x80" + bytes(14)), ("b", b"\x20\x01" + bytes(14))):
        known.learn((host, 1, 0, 0), socket.IPPROTO_IPV6, packed + index)
    assert known.at(("a", 1, 0, 0))[0][2].endswith(index)
    assert known.at(("b", 1, 0, 0))[0][2].endswith(bytes(4))
