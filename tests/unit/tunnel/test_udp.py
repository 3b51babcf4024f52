"""Trains that arrive one after another are gathered where they go on seamlessly."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from gateway.tunnel.loop import GATHERED
from gateway.tunnel.opener import UDP_GRO
from gateway.tunnel.udp import TRAIN, UdpSockets
from gateway.wireguard.outbox import MAX_TRAIN, Outbox, segments_per_train

ALICE, BOB = ("192.0.2.1", 1), ("192.0.2.2", 2)


class Scripted:
    """A socket that has received what it is given: (bytes, size of a datagram or None without GRO, source)."""

    def __init__(self, *trains: tuple[bytes, int | None, tuple[str, int]]) -> None:
        self.left = list(trains)

    def recvmsg_into(self, buffers: list[memoryview], _space: int) -> tuple[int, list[Any], int, tuple[str, int]]:
        if not self.left:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        data, segment, source = self.left.pop(0)
        buffers[0][: len(data)] = data
        told = [] if segment is None else [(socket.IPPROTO_UDP, UDP_GRO, struct.pack("=i", segment))]
        return len(data), told, 0, source


class NoSockets:
    def open(self, port: int, fwmark: int) -> list[socket.socket]:
        return []

    def mark(self, sockets: list[socket.socket], fwmark: int) -> None: ...


def gathered(sock: Scripted, times: int = 32) -> list[tuple[bytes, int, Any]]:
    udp = UdpSockets(opener=NoSockets())
    found = udp.gather(sock, memoryview(bytearray(GATHERED)), times)  # type: ignore[arg-type]
    return [(bytes(train), segment, source) for train, segment, source in found]


def test_a_train_that_goes_on_where_the_one_before_ended_is_part_of_it() -> None:
    sock = Scripted((b"a" * 100 + b"b" * 100, 100, ALICE), (b"c" * 100 + b"d" * 30, 100, ALICE))
    assert gathered(sock) == [(b"a" * 100 + b"b" * 100 + b"c" * 100 + b"d" * 30, 100, ALICE)]


def test_lonely_datagrams_of_one_size_are_a_train() -> None:
    assert gathered(Scripted(*((bytes([n]) * 48, None, BOB) for n in range(3)))) == [
        (b"\0" * 48 + b"\1" * 48 + b"\2" * 48, 48, BOB)
    ]


def test_nothing_follows_a_short_datagram() -> None:
    sock = Scripted((b"a" * 130, 100, ALICE), (b"b" * 100, None, ALICE))
    assert gathered(sock) == [(b"a" * 130, 100, ALICE), (b"b" * 100, 100, ALICE)]


def test_another_source_or_size_begins_another_train() -> None:
    sock = Scripted((b"a" * 96, None, ALICE), (b"b" * 96, None, BOB), (b"c" * 80, None, BOB))
    assert gathered(sock) == [(b"a" * 96, 96, ALICE), (b"b" * 96, 96, BOB), (b"c" * 80, 80, BOB)]


def test_no_more_is_read_than_asked_for_and_than_there_is_room_for() -> None:
    assert len(gathered(Scripted((b"a" * 48, None, BOB), (b"b" * 48, None, BOB)), times=1)[0][0]) == 48
    full = Scripted(*((b"x" * (TRAIN - 16), TRAIN - 16, ALICE) for _ in range(9)))
    gathered(full)
    assert len(full.left) == 5


def test_a_super_packet_of_the_stated_number_of_packets_is_one_sendmsg() -> None:
    for mtu in (576, 1280, 1420, 1500, 9000, 65_439):
        outbox, count = Outbox(), segments_per_train(mtu)
        outbox.put(ALICE, bytes((mtu + 32) * count), mtu + 32)
        assert outbox.size == (mtu + 32) * count
        assert len(outbox.take()) == 1
        assert outbox.size == 0
        assert count == 64 or (mtu + 32) * (count + 1) > MAX_TRAIN
