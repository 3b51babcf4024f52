"""A simulated network: interfaces with a common clock, and a wire between them that can lose, repeat and reorder."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from gateway.packet import checksum
from gateway.packet.offload import PLAIN, Parts
from gateway.wireguard.config import Endpoint, InterfaceConfig, PeerConfig
from gateway.wireguard.interface import Interface
from gateway.wireguard.noise import clamp
from gateway.wireguard.timestamps import Timestamps
from gateway.wireguard.transforms import Transforms

START = 1_000.0
UNIX_START = 1_800_000_000.0


def public_key(private: bytes) -> bytes:
    private_key = X25519PrivateKey.from_private_bytes(clamp(private))
    public: X25519PublicKey = private_key.public_key()
    return public.public_bytes_raw()


def entropy(seed: int) -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    return random.Random(seed).randbytes


def udp4(source: str, destination: str, payload: bytes = b"hello", sport: int = 40000, dport: int = 7) -> bytes:
    """An IPv4 UDP packet with sound checksums."""
    return _udp(source, destination, payload, sport, dport)


def udp6(source: str, destination: str, payload: bytes = b"hello", sport: int = 40000, dport: int = 7) -> bytes:
    return _udp(source, destination, payload, sport, dport)


def _udp(source: str, destination: str, payload: bytes, sport: int, dport: int) -> bytes:
    ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    return packet(source, destination, 17, ports + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload, 6)


def tcp(
    source: str,
    destination: str,
    payload: bytes = b"",
    *,
    sport: int = 40000,
    dport: int = 443,
    sequence: int = 1,
    flags: int = 0x10,
    options: bytes = b"",
) -> bytes:
    """A TCP segment in IPv4 or IPv6 with sound checksums."""
    header = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + sequence.to_bytes(4, "big") + bytes(4)
    header += bytes([(20 + len(options)) // 4 << 4, flags]) + b"\x20\x00" + bytes(4) + options
    return packet(source, destination, 6, header + payload, 16)


def packet(source: str, destination: str, protocol: int, body: bytes, field_at: int | None = None) -> bytes:
    """An IP packet around `body`; the checksum of the latter goes to `field_at`."""
    a, b = ip_address(source), ip_address(destination)
    if field_at is not None:
        total = checksum.ones_sum(a.packed + b.packed) + protocol + len(body) + checksum.ones_sum(body)
        body = body[:field_at] + (checksum.finish(total) or 0xFFFF).to_bytes(2, "big") + body[field_at + 2 :]
    if a.version == 6:
        return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([protocol, 64]) + a.packed + b.packed + body
    header = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + b"\0\0\x40\0\x40" + bytes([protocol, 0, 0])
    header += a.packed + b.packed
    return header[:10] + checksum.finish(checksum.ones_sum(header)).to_bytes(2, "big") + header[12:] + body


@dataclass
class Node:
    """An interface with an address on the wire and a list of what came out of its TUN."""

    interface: Interface
    private: bytes
    address: Endpoint
    timestamps: Timestamps
    received: list[bytes] = field(default_factory=list)

    @property
    def public(self) -> bytes:
        return public_key(self.private)


class World:
    """Nodes, a clock, and datagrams under way. `tamper` may replace each datagram by any number of them."""

    def __init__(self) -> None:
        self.now = START
        self.nodes: dict[Endpoint, Node] = {}
        self.tamper: Callable[[Endpoint, Endpoint, bytes], list[bytes]] = lambda _from, _to, data: [data]
        self.log: list[tuple[Endpoint, Endpoint, bytes]] = []
        self._flying: list[tuple[Endpoint, Endpoint, bytes]] = []

    def node(self, number: int, *, timestamps: Timestamps | None = None, transforms: Transforms | None = None) -> Node:
        private = bytes([number]) * 32
        kept = timestamps or Timestamps()
        interface = Interface(
            now=self.now,
            unix_time=UNIX_START + self.now - START,
            entropy=entropy(number),
            transforms=transforms,
            timestamps=kept,
        )
        interface.configure(InterfaceConfig(private_key=private), now=self.now)
        node = Node(interface, private, (f"192.0.2.{number}", 51820), kept)
        self.nodes[node.address] = node
        return node

    def join(self, a: Node, b: Node, **extra: object) -> None:
        """Make two nodes each other's peers; node n owns 10.0.0.n and fd00::n. `extra` goes to a's peer."""
        for one, other, more in ((a, b, extra), (b, a, {})):
            number = other.private[0]
            networks = (ip_network(f"10.0.0.{number}"), ip_network(f"fd00::{number:x}"))
            peer = PeerConfig(other.public, endpoint=other.address, allowed_ips=networks, **more)  # type: ignore[arg-type]
            one.interface.configure(InterfaceConfig(peers=(peer,)), now=self.now)

    def send(self, node: Node, packet: bytes) -> None:
        """Let `node`'s TUN give one packet, and everything settle."""
        node.received += [unframed(frame) for frame in node.interface.send(memoryview(PLAIN + packet), now=self.now)]
        self.settle()

    def inject(self, source: Endpoint, to: Endpoint, datagram: bytes) -> None:
        self._flying.append((source, to, datagram))
        self.settle()

    def settle(self) -> None:
        """Carry datagrams until none is under way."""
        self._collect()
        while self._flying:
            source, to, datagram = self._flying.pop(0)
            node = self.nodes.get(to)
            if node is None:
                continue
            frames = node.interface.receive(memoryview(datagram), len(datagram), source, now=self.now)
            node.received += [unframed(frame) for frame in frames]
            self._collect()

    def _collect(self) -> None:
        for node in self.nodes.values():
            for transmit in node.interface.transmits():
                data = b"".join(transmit.buffers)
                for at in range(0, len(data), transmit.segment):
                    datagram = data[at : at + transmit.segment]
                    self.log.append((node.address, transmit.endpoint, datagram))
                    for out in self.tamper(node.address, transmit.endpoint, datagram):
                        self._flying.append((node.address, transmit.endpoint, out))

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every deadline on the way."""
        end = self.now + seconds
        while True:
            deadlines = [d[0] for n in self.nodes.values() if (d := n.interface.next_deadline()) is not None]
            due = min(deadlines, default=end)
            if due > end:
                break
            self.now = max(self.now, due)
            for node in self.nodes.values():
                node.received += [unframed(frame) for frame in node.interface.handle_deadline(now=self.now)]
            self.settle()
            if due == end and not [d for d in deadlines if d < end]:
                break
        self.now = end


def unframed(frame: Parts) -> bytes:
    """A frame without its virtio header, as one packet."""
    return b"".join(frame)[len(PLAIN) :]


def pair() -> tuple[World, Node, Node]:
    """Two nodes that know each other."""
    world = World()
    a, b = world.node(1), world.node(2)
    world.join(a, b)
    return world, a, b
