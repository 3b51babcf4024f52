"""The two batch transforms between a TUN's frames and trains of datagrams. This is the reference; both are pure.

`seal`: split, pad, encrypt. `open_`: decrypt, trim, merge. Everything that decides (replay, allowed IPs, permits) stays
outside, so that a native twin has nothing to decide either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.packet.checksum import Buffer
from gateway.packet.offload import Frame, merge, split
from gateway.wireguard.messages import TRANSPORT, TRANSPORT_HEADER
from gateway.wireguard.spec import PADDING, TAG

NAME = "python"
_NONCE = Struct("<4xQ")
_OVERHEAD = TRANSPORT_HEADER.size + TAG


@dataclass(frozen=True, slots=True)
class Sealed:
    """A train: `count` datagrams in pairs of header and ciphertext, all `segment` bytes long, the last at most that."""

    buffers: list[Buffer]
    segment: int
    count: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What a train held. `authentic` has one entry per datagram; `keepalives` and `malformed` count authentic ones."""

    authentic: list[bool]
    frames: list[Frame]
    keepalives: int
    malformed: int


def seal(key: ChaCha20Poly1305, receiver: int, counter: int, frame: Buffer, mtu: int) -> Sealed:
    """Turn a frame into datagrams with the counters from `counter` on. Padding to 16 bytes does not exceed `mtu`."""
    buffers: list[Buffer] = []
    segment = 0
    for parts in split(frame):
        plaintext = b"".join(parts)
        size = len(plaintext)
        padding = max(0, min(-size % PADDING, mtu - size))
        ciphertext = key.encrypt(_NONCE.pack(counter), plaintext + bytes(padding), None)
        buffers += (TRANSPORT_HEADER.pack(TRANSPORT, receiver, counter), ciphertext)
        segment = segment or size + padding + _OVERHEAD
        counter += 1
    return Sealed(buffers, segment, len(buffers) // 2)


def seal_empty(key: ChaCha20Poly1305, receiver: int, counter: int) -> Sealed:
    """Give a keepalive: a datagram with nothing in it."""
    ciphertext = key.encrypt(_NONCE.pack(counter), b"", None)
    return Sealed([TRANSPORT_HEADER.pack(TRANSPORT, receiver, counter), ciphertext], _OVERHEAD, 1)


def open_(key: ChaCha20Poly1305, datagrams: Sequence[memoryview], *, udp: bool = True) -> Opened:
    """Open transport datagrams of one keypair. `udp` says whether the TUN takes USO frames."""
    authentic: list[bool] = []
    packets: list[bytes] = []
    keepalives = malformed = 0
    for datagram in datagrams:
        nonce = bytes(4) + datagram[8:16]
        try:
            plaintext = key.decrypt(nonce, datagram[16:], None)
        except InvalidTag:
            authentic.append(False)
            continue
        authentic.append(True)
        if not plaintext:
            keepalives += 1
        elif (length := _length(plaintext)) is None:
            malformed += 1
        else:
            packets.append(plaintext[:length] if length < len(plaintext) else plaintext)
    return Opened(authentic, merge(packets, udp=udp), keepalives, malformed)


def _length(packet: bytes) -> int | None:
    """Give the length that the IP header states, or None when it cannot be true."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    length = packet[2] << 8 | packet[3] if version == 4 else 40 + (packet[4] << 8 | packet[5])
    smallest = {4: 20, 6: 40}.get(version)
    return length if smallest is not None and smallest <= length <= len(packet) else None
