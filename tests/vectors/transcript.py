"""A transcript: what one of our interfaces was given and what it made of it, step by step, to be replayed byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from gateway.packet.offload import PLAIN
from gateway.wireguard.config import Endpoint, InterfaceConfig, PeerConfig
from tests.sim.wire import Node, World, unframed

OURS = 2
"""Number of our node in `tests.sim.wire`: its key, addresses and entropy follow from it."""
THEIRS: Endpoint = ("127.0.0.1", 51821)

Step = tuple[str, str]
"""`tun` (a packet for our interface), `out` (a datagram that it sent), `in` (one that came), `inner` (a packet it gave)."""


@dataclass
class Transcript:
    """Our half of a conversation with another implementation. The clock stands still, so timers say nothing."""

    node: Node
    world: World
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def begin(cls, *, knows_endpoint: bool) -> Transcript:
        world = World()
        node, other = world.node(OURS), world.node(1)
        world.join(other, node)
        world.join(node, other)
        if knows_endpoint:
            _point(node, other.public, THEIRS, world.now)
        return cls(node, world)

    def tun(self, packet: bytes) -> list[bytes]:
        """Give our interface a packet. Gives the datagrams that it sends."""
        self.steps.append(("tun", packet.hex()))
        self.node.interface.send(memoryview(PLAIN + packet), now=self.world.now)
        return self._sent()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Give our interface a datagram. Gives the datagrams that it sends."""
        self.steps.append(("in", datagram.hex()))
        frames = self.node.interface.receive(memoryview(datagram), len(datagram), THEIRS, now=self.world.now)
        self.steps += [("inner", unframed(frame).hex()) for frame in frames]
        return self._sent()

    def _sent(self) -> list[bytes]:
        sent = []
        for transmit in self.node.interface.transmits():
            data = b"".join(transmit.buffers)
            sent += [data[at : at + transmit.segment] for at in range(0, len(data), transmit.segment)]
        self.steps += [("out", datagram.hex()) for datagram in sent]
        return sent

    def replayed(self) -> list[Step]:
        """The steps that come out when the inputs of this transcript are given to a fresh interface."""
        fresh = Transcript.begin(knows_endpoint=self.steps[0][0] == "tun")
        for kind, data in self.steps:
            if kind == "tun":
                fresh.tun(bytes.fromhex(data))
            elif kind == "in":
                fresh.receive(bytes.fromhex(data))
        return fresh.steps

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(self.steps, indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> Transcript:
        loaded = cls.begin(knows_endpoint=True)
        loaded.steps = [(kind, data) for kind, data in json.loads(file.read_text())]
        return loaded


def _point(node: Node, peer: bytes, endpoint: Endpoint, now: float) -> None:
    node.interface.configure(InterfaceConfig(peers=(PeerConfig(peer, endpoint=endpoint),)), now=now)
