"""The reference implementation of the two batch transforms."""

from __future__ import annotations

from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.packet.checksum import Buffer
from gateway.packet.offload import merge, split
from gateway.wireguard.messages import TRANSPORT, TRANSPORT_HEADER, TRANSPORT_MINIMUM
from gateway.wireguard.spec import PADDING, TAG
from gateway.wireguard.transforms import Opened, Sealed

NAME = "python"
_NONCE = Struct("<4xQ")
_NONCE_HEAD = bytes(4)
_OVERHEAD = TRANSPORT_HEADER.size + TAG


def key(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(secret)


def seal(key: ChaCha20Poly1305, receiver: int, counter: int, frame: Buffer, mtu: int) -> Sealed:
    pieces: list[bytes] = []
    segment = 0
    for parts in split(frame):
        plaintext = b"".join(parts)
        size = len(plaintext)
        if size % PADDING and size < mtu:
            plaintext += bytes(min(-size % PADDING, mtu - size))
        pieces.append(TRANSPORT_HEADER.pack(TRANSPORT, receiver, counter))
        pieces.append(key.encrypt(_NONCE.pack(counter), plaintext, None))
        segment = segment or len(plaintext) + _OVERHEAD
        counter += 1
    return Sealed(b"".join(pieces), segment, len(pieces) // 2)


def seal_empty(key: ChaCha20Poly1305, receiver: int, counter: int) -> Sealed:
    ciphertext = key.encrypt(_NONCE.pack(counter), b"", None)
    return Sealed(TRANSPORT_HEADER.pack(TRANSPORT, receiver, counter) + ciphertext, _OVERHEAD, 1)


def open_(key: ChaCha20Poly1305, train: Buffer, segment: int, *, udp: bool = True) -> Opened:
    whole = bytes(train)
    authentic: list[bool] = []
    packets: list[bytes] = []
    keepalives = malformed = 0
    for at in range(0, len(whole), segment):
        plaintext = _decrypted(key, whole[at : at + segment])
        authentic.append(plaintext is not None)
        if plaintext is None:
            continue
        if not plaintext:
            keepalives += 1
        elif (length := _length(plaintext)) is None:
            malformed += 1
        else:
            packets.append(plaintext[:length] if length < len(plaintext) else plaintext)
    return Opened(authentic, merge(packets, udp=udp), keepalives, malformed)


def _decrypted(key: ChaCha20Poly1305, datagram: bytes) -> bytes | None:
    if len(datagram) < TRANSPORT_MINIMUM:
        return None
    try:
        return key.decrypt(_NONCE_HEAD + datagram[8:16], datagram[16:], None)
    except InvalidTag:
        return None


def _length(packet: bytes) -> int | None:
    """Give the length that the IP header states, or None when it cannot be true."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    length = packet[2] << 8 | packet[3] if version == 4 else 40 + (packet[4] << 8 | packet[5])
    smallest = {4: 20, 6: 40}.get(version)
    return length if smallest is not None and smallest <= length <= len(packet) else None
