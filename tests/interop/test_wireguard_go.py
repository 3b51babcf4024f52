"""The real wireguard-go and wg(8) understand us, in both roles."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.errors import HostError
from tests.interop.conftest import REKEY_AFTER, Conversation
from tests.interop.ends import PORT, End, pair, until, wg

SIZE = 4 << 20


@pytest.fixture(
    scope="module",
    params=[
        ("sallyport", "wireguard-go", 4),
        ("wireguard-go", "sallyport", 4),
        ("sallyport", "wireguard-go", 6),
        ("wireguard-go", "sallyport", 6),
        ("sallyport", "sallyport", 4),
    ],
    ids=lambda p: f"{p[0]}-to-{p[1]}-over-ipv{p[2]}",
)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    one, other, version = request.param
    with pair(one, other, version=version) as made:
        made[0].ping(made[1], 4)  # the first packet of the initiator begins the handshake
        yield made


@pytest.mark.parametrize("version", [4, 6])
def test_packets_pass_both_ways(ends: tuple[End, End], version: int) -> None:
    one, other = ends
    one.ping(other, version)
    other.ping(one, version)


@pytest.mark.parametrize("forward", [True, False], ids=["initiator-sends", "responder-sends"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_tcp_stream_arrives_byte_for_byte(ends: tuple[End, End], version: int, forward: bool) -> None:
    sender, receiver = ends if forward else ends[::-1]
    content = hashlib.shake_256(b"stream").digest(SIZE)
    with receiver.host.entered():
        server = socket.create_server(
            (receiver.inner(version), 7000), family=socket.AF_INET if version == 4 else socket.AF_INET6
        )
    with server, sender.host.entered():
        client = socket.create_connection((receiver.inner(version), 7000), timeout=10)
        connection, _ = server.accept()
        with client, connection:
            threading.Thread(
                target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)), daemon=True
            ).start()
            connection.settimeout(60)
            digest, size = hashlib.sha256(), 0
            while piece := connection.recv(1 << 16):
                digest.update(piece)
                size += len(piece)
    assert (size, digest.digest()) == (SIZE, hashlib.sha256(content).digest())


def test_wg_show_tells_the_same_story_at_both_ends(ends: tuple[End, End]) -> None:
    for here, there in (ends, ends[::-1]):
        public_key, _psk, endpoint, allowed, handshake, rx, tx, _keepalive = here.dump()
        assert public_key == there.public_key
        assert endpoint.endswith(f":{PORT}")
        assert set(allowed.split(",")) == {f"{there.inner(4)}/32", f"{there.inner(6)}/128"}
        assert abs(time.time() - int(handshake)) < 120
        assert int(rx) > 0
        assert int(tx) > 0
    assert abs(ends[0].latest_handshake - ends[1].latest_handshake) <= 1
    assert "latest handshake" in wg("show", ends[0].interface)


@pytest.mark.parametrize("other", ["sallyport", "wireguard-go"])
def test_a_preshared_key_must_be_the_same_at_both_ends(other: str) -> None:
    psk = wg("genpsk")
    with pair("sallyport", other) as (one, two):
        wg("set", one.interface, "peer", two.public_key, "preshared-key", "/dev/stdin", text=psk)
        with pytest.raises(HostError):
            one.ping(two, 4, count=1, within=2)
        wg("set", two.interface, "peer", one.public_key, "preshared-key", "/dev/stdin", text=psk)
        one.ping(two, 4, count=1, within=15)


def test_setconf_showconf_and_syncconf_work_as_on_wireguard_go() -> None:
    with pair("sallyport", "wireguard-go") as (one, two):
        one.ping(two, 4)
        told = wg("showconf", one.interface)
        handshake = one.latest_handshake
        wg("syncconf", one.interface, "/dev/stdin", text=told)
        assert one.latest_handshake == handshake, "syncconf of the same configuration keeps the session"
        wg("set", one.interface, "peer", two.public_key, "remove")
        assert wg("show", one.interface, "peers") == ""
        with pytest.raises(HostError):
            one.ping(two, 4, count=1, within=1)
        wg("setconf", one.interface, "/dev/stdin", text=told)
        one.ping(two, 4, within=15)
        assert wg("showconf", one.interface) == told


def test_a_key_change_ends_the_old_sessions_and_the_new_key_works() -> None:
    with pair("sallyport", "wireguard-go") as (one, two):
        one.ping(two, 4)
        old, one.private_key = one.public_key, wg("genkey").strip()
        wg("set", two.interface, "peer", old, "remove")
        wg("set", one.interface, "private-key", "/dev/stdin", text=one.private_key)
        with pytest.raises(HostError):
            one.ping(two, 4, count=1, within=2)
        two.configure(one, endpoint=False)
        one.ping(two, 4, count=1, within=15)


def test_the_responder_follows_an_initiator_that_moves() -> None:
    with pair("wireguard-go", "sallyport") as (one, two):
        one.ping(two, 4)
        wg("set", one.interface, "listen-port", "40404")
        one.ping(two, 4)
        until(lambda: two.dump()[2].endswith(":40404"), "the new endpoint")
        two.ping(one, 4)


def test_keys_are_renewed_under_traffic_without_a_lost_packet(conversations: list[Conversation]) -> None:
    for each in conversations:
        left = each.began + REKEY_AFTER + 3 - time.monotonic()
        if left > 0:
            time.sleep(left)
        until(lambda each=each: each.initiator.latest_handshake > each.first_handshake, "a second handshake")  # type: ignore[misc]
        renewed = each.initiator.latest_handshake - each.first_handshake
        assert renewed >= REKEY_AFTER - 1, f"{each.initiator.program} began the second handshake after {renewed} s"
        assert abs(each.initiator.latest_handshake - each.responder.latest_handshake) <= 2
        summary = each.end()
        assert " 0% packet loss" in summary, summary
        assert int(summary.split(" packets transmitted")[0].split("\n")[-1]) > 300
