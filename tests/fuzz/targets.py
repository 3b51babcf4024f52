"""What is fuzzed: functions of bytes that may never raise, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

from gateway.packet import ip
from gateway.packet.flows import Flows
from gateway.packet.permits import Permit, Permits
from gateway.tunnel import surroundings
from gateway.wireguard import noise
from gateway.wireguard.messages import INITIATION, RESPONSE, SIZES, Initiation, Response
from gateway.wireguard.noise import HandshakeError, StaticKey
from gateway.wireguard.transforms import Transforms, choose
from gateway.wireguard.uapi import UapiError, format_get, format_set, parse_get, parse_set
from tests.sim.wire import Node, World, pair, tcp, udp4, udp6

STRANGER = ("203.0.113.66", 666)
MINE, THEIRS = StaticKey.of(bytes([1]) * 32), StaticKey.of(bytes([2]) * 32)
SHARED = noise.dh(MINE.private, THEIRS.public)
INITIATED, _ = noise.initiate(MINE, THEIRS.public, SHARED, sender=7, timestamp=bytes(12), ephemeral=bytes([3]) * 32)
KEY = bytes(range(32))
_connected: list[tuple[World, Node, Node]] = []


def conversation() -> tuple[World, Node, Node]:
    """Two nodes that have talked; the same bytes every time, so what is in the corpus was all received before."""
    world, a, b = pair()
    for packet in (udp4("10.0.0.1", "10.0.0.2"), udp6("fd00::1", "fd00::2"), tcp("10.0.0.1", "10.0.0.2", bytes(100))):
        world.send(a, packet)
    world.send(b, udp4("10.0.0.2", "10.0.0.1"))
    return world, a, b


def demux(data: bytes) -> None:
    """Two bytes of segment size, then a train from a stranger: nothing comes out, and what is refused is counted."""
    if not _connected:
        _connected.append(conversation())
    world, _, b = _connected[0]
    segment, train = int.from_bytes(data[:2], "little"), data[2:]
    before = sum(b.interface.drops.values())
    frames = b.interface.receive(memoryview(train), segment, STRANGER, now=world.now)
    assert frames == []
    assert not train or sum(b.interface.drops.values()) > before
    b.interface.transmits()


def handshake(data: bytes) -> None:
    """The decoders of both handshake messages, behind mac1: they authenticate or refuse."""
    for kind, decode in ((INITIATION, _initiation), (RESPONSE, _response)):
        datagram = struct.pack("<I", kind) + data[: SIZES[kind] - 4].ljust(SIZES[kind] - 4, b"\0")
        with contextlib.suppress(HandshakeError):
            decode(datagram)


def _initiation(datagram: bytes) -> None:
    static, transcript = noise.peek(THEIRS, Initiation.unpack(datagram))
    noise.consume(static, transcript, noise.dh(THEIRS.private, static), Initiation.unpack(datagram))


def _response(datagram: bytes) -> None:
    noise.finish(MINE, INITIATED, bytes(32), Response.unpack(datagram))
    raise AssertionError("nobody knows the keys that would make this a response")


def _transforms() -> list[Transforms]:
    found = [choose("python")]
    with contextlib.suppress(ImportError):
        found.append(choose("native"))
    return found


TRANSFORMS = _transforms()


def transforms(data: bytes) -> None:
    """A frame of the TUN through seal and open, and the bytes as a train: both implementations say the same."""
    said = []
    for each in TRANSFORMS:
        key = each.key(KEY)
        sealed = each.seal(key, 7, 0, data, 1420)
        opened = each.open_(key, sealed.train, sealed.segment) if sealed.datagrams else None
        raw = each.open_(key, data, max(1, data[0] if data else 1))
        assert opened is None or all(opened.authentic)
        said.append((tuple(sealed), _plain(opened), _plain(raw)))
    assert all(each == said[0] for each in said)


def _plain(opened: object) -> object:
    if opened is None:
        return None
    authentic, frames, keepalives, malformed = (
        getattr(opened, n) for n in ("authentic", "frames", "keepalives", "malformed")
    )
    return authentic, [b"".join(frame[1]) for frame in frames], keepalives, malformed


def uapi(data: bytes) -> None:
    """Text of the control socket: a change that is written as it was read, or a refusal with a number."""
    lines = data.decode("utf-8", "replace").split("\n")
    with contextlib.suppress(UapiError):
        config = parse_set(lines)
        again = parse_set(format_set(config).rstrip("\n").split("\n")[1:])
        assert again == config
    with contextlib.suppress(UapiError):
        format_get(parse_get(lines))


PERMITS = Permits(map(Permit.parse, ("10.0.0.0/8 tcp/443", "10.1.0.0/16", "fd00::/8 udp/1-1000", "10.2.0.0/16 icmp")))


def packets(data: bytes) -> None:
    """An inner packet: it is read or refused, judged in both directions, and what is not permitted makes no flow."""
    header = ip.parse(data)
    if header is None:
        return
    assert header.length <= len(data)
    assert header.offset <= header.length
    flows = Flows(PERMITS)
    refused = flows.to_peer(data, header, now=0.0)
    assert refused is not None, "nothing was begun by the peer"
    flows.from_peer(data, header, now=0.0)
    assert len(flows) <= 1


def rtnetlink(data: bytes) -> None:
    """What the kernel tells: it cannot lie, and is not believed all the same."""
    list(surroundings.parse(data))


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (demux, handshake, transforms, uapi, packets, rtnetlink)
}
