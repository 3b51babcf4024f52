"""The four datagrams of WireGuard (paper section 5.4), as bytes and as values."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple

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


class TransportTrain(NamedTuple):
    """Transport datagrams for one receiver index: `segment` bytes each, the last at most that, with their counters."""

    view: memoryview
    segment: int
    receiver: int
    counters: list[int]

    @classmethod
    def read(cls, view: memoryview, segment: int) -> TransportTrain | None:
        """Read the headers. None for anything but transport datagrams of one index."""
        if TRANSPORT_MINIMUM <= len(view) <= segment:  # a lonely datagram: the usual case where somebody waits
            kind, receiver, counter = TRANSPORT_HEADER.unpack_from(view)
            return cls(view, segment, receiver, [counter]) if kind == TRANSPORT else None
        last = len(view) % segment if segment else 0
        if segment < TRANSPORT_MINIMUM or 0 < last < TRANSPORT_MINIMUM or len(view) < TRANSPORT_MINIMUM:
            return None
        headers = list(_stride(segment).iter_unpack(view[: len(view) - last]))
        if last:
            headers.append(TRANSPORT_HEADER.unpack_from(view, len(view) - last))
        index = headers[0][1]
        counters = [counter for kind, receiver, counter in headers if kind == TRANSPORT and receiver == index]
        return cls(view, segment, index, counters) if len(counters) == len(headers) else None

    def alone(self, at: int) -> TransportTrain:
        """Datagram number `at` as a train of its own."""
        view = self.view[at * self.segment : (at + 1) * self.segment]
        return TransportTrain(view, len(view), self.receiver, [self.counters[at]])


@lru_cache(maxsize=64)
def _stride(segment: int) -> struct.Struct:
    return struct.Struct(f"<IIQ{segment - TRANSPORT_HEADER.size}x")


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
