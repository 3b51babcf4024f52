"""A key and a nonce are never used together twice: looked at where sealing happens, over a long life with everything in it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from gateway.packet.checksum import Buffer
from gateway.packet.offload import GSO_TCPV4, NEEDS_CHECKSUM, VIRTIO
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.messages import TRANSPORT
from gateway.wireguard.transforms import Opened, Sealed, reference
from tests.sim.wire import World, tcp, udp4, udp6


class Recording:
    """The reference, which writes down every key and counter that it seals under."""

    NAME = "recording"

    def __init__(self) -> None:
        self.used: Counter[tuple[bytes, int]] = Counter()
        self.trains = 0

    def key(self, secret: bytes) -> Any:
        return secret, reference.key(secret)

    def _note(self, key: Any, counter: int, sealed: Sealed) -> Sealed:
        self.used.update((key[0], counter + each) for each in range(sealed.datagrams))
        self.trains += 1
        return sealed

    def seal(self, key: Any, receiver: int, counter: int, frame: Buffer, mtu: int) -> Sealed:
        return self._note(key, counter, reference.seal(key[1], receiver, counter, frame, mtu))

    def seal_empty(self, key: Any, receiver: int, counter: int) -> Sealed:
        return self._note(key, counter, reference.seal_empty(key[1], receiver, counter))

    def open_(self, key: Any, train: Buffer, segment: int, *, udp: bool = True) -> Opened:
        return reference.open_(key[1], train, segment, udp=udp)


def super_packet(source: str, destination: str) -> bytes:
    whole = tcp(source, destination, bytes(9000))
    return VIRTIO.pack(NEEDS_CHECKSUM, GSO_TCPV4, 40, 1300, 20, 16) + whole


def test_over_an_hour_of_rekeys_roaming_loss_leases_and_changes_of_key() -> None:
    recording, world, dice = Recording(), World(), random.Random(3)
    nodes = [world.node(number, transforms=recording) for number in (1, 2, 3)]
    hub = nodes[1]
    for node in (nodes[0], nodes[2]):
        world.join(node, hub, keepalive=25)
    world.tamper = lambda _s, _t, data: [] if dice.random() < 0.1 else [data] * (2 if dice.random() < 0.05 else 1)
    for step in range(900):
        for node, number in ((nodes[0], 1), (nodes[2], 3)):
            here, there = f"10.0.0.{number}", "10.0.0.2"
            node.interface.send(memoryview(super_packet(here, there)), now=world.now)
            hub.interface.send(memoryview(super_packet(there, here)), now=world.now)
            world.send(node, udp4(here, there))
            world.send(hub, udp6("fd00::2", f"fd00::{number}"))
        world.advance(dice.choice((0.1, 1.0, 9.0)))
        if step % 150 == 149:  # both begin at once, a lease ends and comes back, a key is set again
            hub.interface.configure(InterfaceConfig(private_key=hub.private), now=world.now)
            peer = PeerConfig(nodes[0].public, lease_ms=0 if step % 300 == 149 else 3_600_000)
            hub.interface.configure(InterfaceConfig(peers=(peer,)), now=world.now)
    assert recording.used.most_common(1)[0][1] == 1, "a counter was used twice under one key"
    assert len({key for key, _ in recording.used}) > 20, "there were many keys"
    sent = [d for _, _, d in world.log if d[0] == TRANSPORT]
    assert len(sent) == recording.used.total() > 20_000
    assert len({d[16:] for d in sent}) == len(sent), "no ciphertext occurs twice"
