"""Every other implementation that could be built, in both roles, over IPv4 and IPv6."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.interop.ends import End, pair
from tests.interop.programs import BUILT

SIZE = 1 << 20
PAIRS = [
    (one, other, version)
    for theirs in BUILT
    for one, other in (("sallyport", theirs), (theirs, "sallyport"))
    for version in (4, 6)
]


@pytest.fixture(scope="module", params=PAIRS, ids=lambda p: f"{p[0]}-to-{p[1]}-over-ipv{p[2]}")
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    one, other, version = request.param
    with pair(one, other, version=version) as made:
        made[0].ping(made[1], 4, count=1)
        yield made


@pytest.mark.parametrize("version", [4, 6])
def test_data_passes_both_ways(ends: tuple[End, End], version: int) -> None:
    one, other = ends
    one.ping(other, version, count=1)
    other.ping(one, version, count=1)
    for sender, receiver in (ends, ends[::-1]):
        assert _sent(sender, receiver, version) == hashlib.sha256(_content()).digest()


def _content() -> bytes:
    return hashlib.shake_256(b"stream").digest(SIZE)


def _sent(sender: End, receiver: End, version: int) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with receiver.host.entered():
        server = socket.create_server((receiver.inner(version), 7000), family=family)
    with server, sender.host.entered():
        client = socket.create_connection((receiver.inner(version), 7000), timeout=10)
        connection, _ = server.accept()
    with client, connection:
        threading.Thread(
            target=lambda: (client.sendall(_content()), client.shutdown(socket.SHUT_WR)), daemon=True
        ).start()
        connection.settimeout(30)
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 16):
            digest.update(piece)
    return digest.digest()


def test_both_count_what_passed(ends: tuple[End, End]) -> None:
    one, other = ends
    received, sent = (int(count) for count in one.dump()[5:7])
    assert received > SIZE
    assert sent > SIZE
    if "boringtun" not in (one.program, other.program):  # it counts what is inside
        assert abs(int(other.dump()[5]) - sent) <= 4096, "keepalives may be under way"
