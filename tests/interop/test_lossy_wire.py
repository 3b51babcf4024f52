"""Two real tunnels with a proxy between them that loses, repeats, reorders and corrupts: TCP through them is none the worse."""

from __future__ import annotations

import contextlib
import hashlib
import random
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.interop.ends import PORT, End, pair, uapi, wg
from tests.interop.test_peers import _content, _sent

PROXY = 40000


class Proxy(threading.Thread):
    """Carries datagrams between a client on its own host and the server, badly, by a seed."""

    def __init__(self, client: End, server: End, seed: int) -> None:
        super().__init__(daemon=True)
        self._dice = random.Random(seed)
        with client.host.entered():
            self._inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._inside.bind(("127.0.0.1", PROXY))
            self._outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._outside.connect((server.outer(4), PORT))
        self._held: list[tuple[socket.socket, bytes]] = []
        self.damaged = self.repeated = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        with self._inside, self._outside:
            while not self.stopped.is_set():
                ready, _, _ = select.select([self._inside, self._outside], [], [], 0.02)
                for sock in ready:
                    data, source = sock.recvfrom(65535)
                    if sock is self._inside:
                        self._inside.connect(source)
                    self._carry(self._outside if sock is self._inside else self._inside, data)
                if not ready:
                    self._release()

    def _carry(self, to: socket.socket, data: bytes) -> None:
        chance = self._dice.random()
        if chance < 0.02:
            return
        if chance < 0.04:
            self._put(to, data)
            self.repeated += 1
        elif chance < 0.05:
            at = self._dice.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            self.damaged += 1
        if chance > 0.97:
            self._held.append((to, data))
            return
        self._put(to, data)
        if len(self._held) > 3:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for to, data in held:
            self._put(to, data)

    @staticmethod
    def _put(to: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            to.send(data)


@pytest.fixture
def ends() -> Iterator[tuple[End, End, Proxy]]:
    with pair("sallyport", "sallyport") as (client, server):
        proxy = Proxy(client, server, seed=11)
        proxy.start()
        wg("set", client.interface, "peer", server.public_key, "endpoint", f"127.0.0.1:{PROXY}")
        yield client, server, proxy
        proxy.stopped.set()
        proxy.join()


def test_tcp_arrives_whole_in_both_directions(ends: tuple[End, End, Proxy]) -> None:
    client, server, proxy = ends
    client.ping(server, 4, count=1, within=30)
    for sender, receiver in ((client, server), (server, client)):
        assert _sent(sender, receiver, 4) == hashlib.sha256(_content()).digest()
    assert proxy.damaged > 0
    assert proxy.repeated > 0
    told = "".join(uapi(end.interface, "get=1\n\n") for end in (client, server))
    assert "drop_counter_replayed=" in told
    assert "drop_transport_forged=" in told or "drop_unknown_index=" in told
