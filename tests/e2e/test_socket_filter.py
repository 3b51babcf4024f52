"""What the kernel lets through to the UDP sockets: real sockets, single datagrams, trains made by GSO and by GRO."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import random
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.tunnel.udp import TRAIN, UDP_SEGMENT, UdpSockets

INITIATION, RESPONSE, COOKIE = (bytes([kind, 0, 0, 0]).ljust(size, b"x") for kind, size in ((1, 148), (2, 92), (3, 64)))
LAST = b"\4\0\0\0".ljust(32, b"e")
"""A keepalive: nothing that is sound is shorter, so a test that reads it has read all before it."""
SIOCETHTOOL, ETHTOOL_STSO, ETHTOOL_SGRO = 0x8946, 0x1F, 0x2C


def data(size: int) -> bytes:
    return b"\4\0\0\0".ljust(size, b"d")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[UdpSockets, socket.socket]]:
    """Our sockets, and a stranger's that is connected to them."""
    ours = UdpSockets()
    address = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with contextlib.closing(ours), socket.socket(request.param, socket.SOCK_DGRAM) as stranger:
        stranger.connect((address, ours.port))
        yield ours, stranger


def received(ours: UdpSockets) -> list[bytes]:
    """Everything up to the keepalive that ends a test, cut into datagrams."""
    found: list[bytes] = []
    buffer = bytearray(TRAIN)
    while not found or found[-1] != LAST:
        ready, _, _ = select.select(ours.sockets, [], [], 10)
        assert ready, f"the last datagram did not come, only {found}"
        for sock in ready:
            size, segment, _ = ours.receive(sock, buffer) or (0, 1, None)
            found += [bytes(buffer[at : min(at + segment, size)]) for at in range(0, size, segment)]
    return found[:-1]


SOUND = [INITIATION, RESPONSE, COOKIE, data(32), data(33), data(96), data(1452), data(9000)]
WRONG_LENGTH = [
    INITIATION + b"x",
    INITIATION[:-1],
    RESPONSE + b"x",
    RESPONSE[:-1],
    COOKIE + b"x",
    COOKIE[:-1],
    data(31),
]
OTHER = [b"", b"\1", b"\1\0\0", b"\4\0\0\0", bytes(148), b"\5\0\0\0".ljust(148, b"x"), b"\1".ljust(1472, b"\xff")]
RESERVED = [bytes([kind, *reserved]).ljust(size, b"x")
    for kind, size in ((1, 148), (2, 92), (3, 64), (4, 128)) for reserved in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]  # fmt: skip


@pytest.mark.parametrize("datagram", SOUND, ids=lambda d: f"{d[0]}-{len(d)}")
def test_a_datagram_of_the_protocol_arrives(wire: tuple[UdpSockets, socket.socket], datagram: bytes) -> None:
    ours, stranger = wire
    stranger.send(datagram)
    stranger.send(LAST)
    assert received(ours) == [datagram]
    assert ours.dropped == 0


@pytest.mark.parametrize("datagram", [*WRONG_LENGTH, *OTHER, *RESERVED], ids=lambda d: f"{d[:4].hex()}-{len(d)}")
def test_a_malformed_datagram_ends_in_the_kernel_and_is_counted(
    wire: tuple[UdpSockets, socket.socket], datagram: bytes
) -> None:
    ours, stranger = wire
    stranger.send(datagram)
    stranger.send(LAST)
    assert received(ours) == []
    assert ours.dropped == 1


def test_random_datagrams_end_in_the_kernel(wire: tuple[UdpSockets, socket.socket]) -> None:
    ours, stranger = wire
    dice = random.Random(3)
    for _ in range(2000):
        stranger.send(b"\xff" + dice.randbytes(dice.randrange(1400)))
    stranger.send(LAST)
    assert received(ours) == []
    assert ours.dropped == 2000


TRAINS = [
    [data(1452)] * 40,
    [data(128)] * 7 + [LAST[:32] + b"d"],
    [INITIATION] * 3,
    [INITIATION, data(96)],
    [RESPONSE, data(32)],
    [RESPONSE, RESPONSE, COOKIE],
    [COOKIE, data(48)],
]


@pytest.mark.parametrize("train", TRAINS, ids=lambda t: f"{t[0][0]}x{len(t)}")
def test_a_train_arrives_whole_although_its_length_is_no_messages(
    wire: tuple[UdpSockets, socket.socket], train: list[bytes]
) -> None:
    ours, stranger = wire
    send_train(stranger, train)
    stranger.send(LAST)
    assert received(ours) == train


@pytest.mark.parametrize("size", [32, 96, 1440, 1452])
def test_a_bad_datagram_in_front_of_a_train_does_not_take_the_others_with_it(
    wire: tuple[UdpSockets, socket.socket], size: int
) -> None:
    ours, stranger = wire
    train = [b"\xff" * size, b"\xfe" * size, data(size), data(size)]
    send_train(stranger, train)
    stranger.send(LAST)
    assert received(ours) == train, "who is bad is decided datagram by datagram, by the interface"


@pytest.mark.parametrize("size", [32, 96, 400])
def test_a_train_of_bad_datagrams_alone_ends_in_the_kernel(wire: tuple[UdpSockets, socket.socket], size: int) -> None:
    ours, stranger = wire
    send_train(stranger, [b"\xff" * size] * 3)
    stranger.send(LAST)
    assert received(ours) == []
    assert ours.dropped == 1


def test_the_filter_cannot_be_taken_off(wire: tuple[UdpSockets, socket.socket]) -> None:
    ours, _ = wire
    for each in ours.sockets:
        with pytest.raises(PermissionError):
            each.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


def send_train(sock: socket.socket, train: list[bytes]) -> None:
    sock.sendmsg(train, [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(train[0])))])


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts on a wire whose far end joins what comes within 50 ms, as a busy network card does."""
    mark = f"{namespaces.owner_mark()}-g"
    with contextlib.ExitStack() as stack:
        near, far = Host.create("near", mark=mark), Host.create("far", mark=mark)
        for each in (near, far):
            stack.callback(each.remove)
        near.ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far.name)
        for number, each in enumerate((near, far), 1):
            each.ip("address", "add", f"192.0.2.{number}/24", "dev", "wire")
            each.ip("link", "set", "wire", "up")
        ethtool(near, ETHTOOL_STSO, 0)  # a veth joins only what comes from an end that does not segment
        ethtool(far, ETHTOOL_SGRO, 1)
        queue = "/sys/class/net/wire"
        far.run("sh", "-ec", f"echo 50000000 > {queue}/gro_flush_timeout; echo 5 > {queue}/napi_defer_hard_irqs")
        yield near, far


def ethtool(host: Host, command: int, value: int) -> None:
    setting = ctypes.create_string_buffer(struct.pack("=II", command, value))
    request = struct.pack("16sP", b"wire", ctypes.addressof(setting)).ljust(40, b"\0")
    with host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def test_a_response_that_gro_joins_with_the_data_behind_it_arrives(hosts: tuple[Host, Host]) -> None:
    near, far = hosts
    with far.entered():
        ours = UdpSockets()
    with near.entered():
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(ours), peer:
        peer.connect(("192.0.2.2", ours.port))
        peer.send(RESPONSE)
        peer.send(LAST)
        ready, _, _ = select.select(ours.sockets, [], [], 10)
        size, segment, _ = ours.receive(ready[0], bytearray(TRAIN))
    assert (size, segment) == (len(RESPONSE) + len(LAST), len(RESPONSE)), "one train, and the filter saw it whole"
