"""What is to be sent, packed into as few sendmsg(2) as can carry it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.packet.checksum import Buffer
from gateway.wireguard.config import Endpoint
from gateway.wireguard.messages import TRANSPORT_MINIMUM

MAX_TRAIN = 65_507
"""Bytes of UDP payload that IPv4 can carry; a train must fit, although it is cut on the way."""
MAX_TRAIN_SEGMENTS = 64
"""What one sendmsg with UDP_SEGMENT takes (UDP_MAX_SEGMENTS is 64 in kernels before 6.9)."""


def segments_per_train(mtu: int) -> int:
    """How many packets of `mtu` bytes one train carries: a super-packet of no more becomes exactly one sendmsg."""
    return max(1, min(MAX_TRAIN_SEGMENTS, MAX_TRAIN // (mtu + TRANSPORT_MINIMUM)))


@dataclass(slots=True)
class Transmit:
    """One sendmsg: `buffers` together make datagrams of `segment` bytes, the last may be shorter. `size` is their sum."""

    endpoint: Endpoint
    segment: int
    buffers: list[Buffer]
    size: int

    @property
    def room(self) -> int:
        """Bytes that may follow. Nothing may follow a short datagram."""
        if self.size % self.segment:
            return 0
        return self.segment * min(MAX_TRAIN_SEGMENTS, MAX_TRAIN // self.segment or 1) - self.size

    def datagrams(self) -> list[bytes]:
        """The datagrams one by one, for a network that takes no trains."""
        train = b"".join(self.buffers)
        return [train[at : at + self.segment] for at in range(0, len(train), self.segment)]


class Outbox:
    """Trains in order. What is left of one that is not full is filled by the next packets to the same endpoint."""

    def __init__(self) -> None:
        self._packed: list[Transmit] = []
        self.size = 0
        """Bytes that wait."""

    def put(self, endpoint: Endpoint, train: Buffer, segment: int) -> None:
        """Queue datagrams of `segment` bytes, the last at most that."""
        size = len(train)
        self.size += size
        if not self._packed and size <= segment:
            self._packed.append(Transmit(endpoint, segment, [train], size))
            return
        at, view = 0, memoryview(train)
        while at < size:
            last = self._packed[-1] if self._packed else None
            room = last.room if last is not None and (last.endpoint, last.segment) == (endpoint, segment) else 0
            if last is None or room < min(segment, size - at):
                last = Transmit(endpoint, segment, [], 0)
                self._packed.append(last)
                room = last.room
            piece = view[at : at + room]
            last.buffers.append(piece)
            last.size += len(piece)
            at += len(piece)

    def take(self) -> list[Transmit]:
        """Take everything."""
        packed, self._packed, self.size = self._packed, [], 0
        return packed
