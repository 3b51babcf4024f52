"""What the protocol core does alone, in one process, without root or network: `python -m tests.bench.core`."""

from __future__ import annotations

import time
from ipaddress import ip_network

from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.interface import Interface
from tests.sim.wire import START, UNIX_START, World, entropy, public_key, udp4


def handshakes_per_second(count: int = 1000) -> float:
    """Full handshakes that one core answers as responder, each of another initiator."""
    world = World()
    responder = world.node(2)
    initiations = []
    for number in range(1, count + 1):
        private = number.to_bytes(4, "big") * 8
        initiator = Interface(now=START, unix_time=UNIX_START, entropy=entropy(number))
        peer = PeerConfig(responder.public, endpoint=responder.address, allowed_ips=(ip_network("10.0.0.2"),))
        initiator.configure(InterfaceConfig(private_key=private, peers=(peer,)), now=START)
        responder.interface.configure(InterfaceConfig(peers=(PeerConfig(public_key(private)),)), now=START)
        initiator.send(memoryview(bytes(10) + udp4("10.0.0.1", "10.0.0.2")), now=START)
        initiations.append(b"".join(initiator.transmits()[0].buffers))
    responder.interface.transmits()
    answered = 0
    began = time.perf_counter()
    for number, datagram in enumerate(initiations):
        now = START + number / 300  # below the rate at which cookies begin
        responder.interface.receive(
            memoryview(datagram), len(datagram), (f"198.51.{number >> 8}.{number & 255}", 1), now=now
        )
        answered += len(responder.interface.transmits())
    took = time.perf_counter() - began
    assert answered == count, f"{answered} of {count} were answered"
    return count / took


if __name__ == "__main__":
    print(f"handshakes per second on one core as responder: {handshakes_per_second():.0f}")
