"""The four datagrams of WireGuard (paper section 5.4), as bytes and as values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2s

from gateway.packet.checksum import Buffer
from gateway.wireguard.spec import LABEL_MAC1

INITIATION, RESPONSE, COOKIE_REPLY, TRANSPORT = 1, 2, 3, 4

_INITIATION = struct.Struct("<II32s48s28s16s16s")
_RESPONSE = struct.Struct("<III32s16s16s16s")
_COOKIE_REPLY = struct.Struct("<II24s32s")
TRANSPORT_HEADER = struct.Struct("<IIQ")
"""Type, receiver index, counter."""

SIZES = {INITIATION: _INITIATION.size, RESPONSE: _RESPONSE.size, COOKIE_REPLY: _COOKIE_REPLY.size}
TRANSPORT_MINIMUM = TRANSPORT_HEADER.size + 16
MACS = 32
"""Bytes of mac1 and mac2 at the end of both handshake messages."""


@dataclass(frozen=True, slots=True)
class Initiation:
    """First message. The last two fields of the datagram, mac1 and mac2, belong to `cookie`."""

    sender: int
    ephemeral: bytes
    static: bytes
    timestamp: bytes

    def pack(self) -> bytes:
        """Give the datagram without its macs."""
        fields = (INITIATION, self.sender, self.ephemeral, self.static, self.timestamp, b"", b"")
        return _INITIATION.pack(*fields)[:-MACS]

    @classmethod
    def unpack(cls, datagram: Buffer) -> Initiation:
        _, sender, ephemeral, static, timestamp, _, _ = _INITIATION.unpack(datagram)
        return cls(sender, ephemeral, static, timestamp)


@dataclass(frozen=True, slots=True)
class Response:
    """Second message."""

    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes

    def pack(self) -> bytes:
        """Give the datagram without its macs."""
        fields = (RESPONSE, self.sender, self.receiver, self.ephemeral, self.empty, b"", b"")
        return _RESPONSE.pack(*fields)[:-MACS]

    @classmethod
    def unpack(cls, datagram: Buffer) -> Response:
        _, sender, receiver, ephemeral, empty, _, _ = _RESPONSE.unpack(datagram)
        return cls(sender, receiver, ephemeral, empty)


@dataclass(frozen=True, slots=True)
class CookieReply:
    """What a loaded responder answers in place of a response."""

    receiver: int
    nonce: bytes
    cookie: bytes

    def pack(self) -> bytes:
        return _COOKIE_REPLY.pack(COOKIE_REPLY, self.receiver, self.nonce, self.cookie)

    @classmethod
    def unpack(cls, datagram: Buffer) -> CookieReply:
        _, receiver, nonce, cookie = _COOKIE_REPLY.unpack(datagram)
        return cls(receiver, nonce, cookie)


def mac1_key(public_key: bytes) -> bytes:
    """Give the key of mac1 for messages to the owner of `public_key`."""
    return blake2s(LABEL_MAC1 + public_key).digest()


def mac(key: bytes, data: Buffer) -> bytes:
    """Give the 16-byte keyed BLAKE2s of the paper's Mac()."""
    return blake2s(data, digest_size=16, key=key).digest()
