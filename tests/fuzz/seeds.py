"""`python -m tests.fuzz.seeds`: the first inputs of every corpus, from real conversations. Fuzzing adds to them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from gateway.packet.offload import GSO_TCPV4, GSO_TCPV6, GSO_UDP, NEEDS_CHECKSUM, PLAIN, VIRTIO
from gateway.wireguard.transforms import reference
from tests.fuzz.targets import KEY, TARGETS, conversation
from tests.sim.wire import tcp, udp4, udp6

CORPUS = Path(__file__).parent / "corpus"


def _talk() -> list[bytes]:
    world, _, _ = conversation()
    return [datagram for _, _, datagram in world.log]


PACKETS = [
    udp4("10.1.0.1", "10.1.0.2", b"x" * 30), udp6("fd00::1", "fd00::2", dport=53), tcp("10.0.0.1", "10.0.0.2", b"data"),
    tcp("fd00::1", "fd00::2", options=b"\1\1\x08\x0a" + bytes(8)), udp4("10.0.0.1", "224.0.0.1"),
    udp4("10.1.0.1", "10.1.0.2")[:6] + b"\x20\0" + udp4("10.1.0.1", "10.1.0.2")[8:],
    udp4("10.1.0.1", "10.1.0.2")[:6] + b"\0\x40" + udp4("10.1.0.1", "10.1.0.2")[8:],
    udp6("fd00::1", "fd00::2")[:6] + b"\x2c\x40" + udp6("fd00::1", "fd00::2")[8:40] + b"\x11\0\0\1\0\0\0\7" + bytes(20),
    udp6("fd00::1", "fd00::2")[:6] + b"\0\x40" + udp6("fd00::1", "fd00::2")[8:40] + b"\x11\0\5\2\0\0\0\0" + bytes(20),
    b"\x46" + udp4("10.1.0.1", "10.1.0.2")[1:20] + b"\x83\7\4\x0a" + bytes(40),
    udp4("10.1.0.1", "10.1.0.2")[:9] + b"\1" + udp4("10.1.0.1", "10.1.0.2")[10:20] + b"\3\1" + bytes(6) + udp4("10.1.0.2", "10.1.0.1"),
]  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """Well-formed inputs, and some that are a little off."""
    talk = _talk()
    if name == "demux":
        for datagram in talk:
            yield len(datagram).to_bytes(2, "little") + datagram
            yield (len(datagram) // 2).to_bytes(2, "little") + datagram
        yield (148).to_bytes(2, "little") + talk[0] + talk[1] + talk[2]
    elif name == "handshake":
        for datagram in talk:
            yield datagram[4:]
            yield datagram[4:60] + bytes(90)
    elif name == "transforms":
        for packet in PACKETS:
            yield PLAIN + packet
        for whole, gso, at in (
            (tcp("10.0.0.1", "10.0.0.2", bytes(4000)), GSO_TCPV4, 20),
            (tcp("fd00::1", "fd00::2", bytes(4000)), GSO_TCPV6, 40),
        ):
            yield VIRTIO.pack(NEEDS_CHECKSUM, gso, at + 20, 1000, at, 16) + whole[:4020]
        yield VIRTIO.pack(NEEDS_CHECKSUM, GSO_UDP, 28, 500, 20, 6) + udp4("10.0.0.1", "10.0.0.2", bytes(2000))
        yield b"\x40" + reference.seal(reference.key(KEY), 7, 0, PLAIN + PACKETS[0], 1420).train
    elif name == "uapi":
        key = "ab" * 32
        for line in (
            "endpoint=[fe80::1%3]:5", "allowed_ip=10.0.0.0/8\nallowed_ip=-10.0.0.0/8", "replace_permits=true\npermit=10.0.0.0/8 tcp/1-9",
            "lease_ms=0", "rate_rx=1\nrate_tx=2", "preshared_key=" + key, "remove=true\nupdate_only=true", "drop_no_flow=3",
            "last_handshake_time_sec=5\nlast_handshake_time_nsec=7", "persistent_keepalive_interval=25\nprotocol_version=1",
        ):  # fmt: skip
            yield f"private_key={key}\nlisten_port=5\nfwmark=0x1\npublic_key={key}\n{line}".encode()
        yield b"errno=0"
        yield b"nonsense"
    elif name == "packets":
        yield from PACKETS
    elif name == "rtnetlink":
        for kind in (16, 20, 21):
            for body in (
                bytes(8),
                bytes(16),
                struct.pack("=BBBBIHH4s", 2, 24, 0, 0, 3, 8, 2, b"\x0a\0\0\1"),
                struct.pack("=BxHiIIHHI", 0, 0, 3, 0, 0, 8, 4, 1300),
            ):
                yield struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def main() -> None:
    for name in TARGETS:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in seeds(name):
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
