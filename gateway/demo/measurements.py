"""What a list of packets says: how many arrived, in which window, and when the last one did. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.demo.records import ECHO_PORT, RECORDS_PORT
from gateway.demo.witness import Packet

PASSING: Final = 0.9
"""Share of the probes sent that must arrive for a server to count as reachable: a busy machine may delay some."""


@dataclass(frozen=True, slots=True)
class Window:
    """Unix seconds, from included, to excluded."""

    start: float
    end: float

    def __contains__(self, at: float) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Count:
    """Probes in a window: how many the laptop sent and how many of those arrived at the server."""

    sent: int
    arrived: int

    @property
    def passes(self) -> bool:
        """Whether the server is reachable."""
        return self.sent > 0 and self.arrived >= PASSING * self.sent

    @property
    def blocked(self) -> bool:
        """Whether probes were sent and not one arrived. Nothing sent proves nothing."""
        return self.sent > 0 and self.arrived == 0

    def __str__(self) -> str:
        return f"{self.arrived}/{self.sent}"


def probes_to(packets: Iterable[Packet], server: str) -> list[tuple[float, int]]:
    """Time and number of every probe to a server, in the order of the packets."""
    return [
        (packet.at, number)
        for packet in packets
        if packet.protocol == socket.IPPROTO_UDP
        and packet.destination == server
        and packet.destination_port == ECHO_PORT
        for number in packet.numbers
    ]


def count(sent: Sequence[Packet], arrived: Sequence[Packet], server: str, window: Window) -> Count:
    """The probes that the laptop sent in the window, and which of those arrived, no matter when."""
    numbers = {number for at, number in probes_to(sent, server) if at in window}
    return Count(len(numbers), len(numbers & {number for _, number in probes_to(arrived, server)}))


def counts(
    sent: Sequence[Packet], arrived: Sequence[Packet], servers: Mapping[str, str], window: Window
) -> dict[str, Count]:
    """`count` for each named server."""
    return {name: count(sent, arrived, address, window) for name, address in servers.items()}


def flow(packets: Iterable[Packet], server: str, port: int) -> list[Packet]:
    """The packets with data of one TCP flow that arrived, at either end; `port` is the client's.

    A packet that only left a host proves nothing: it may have been dropped on the way.
    """
    return [
        packet
        for packet in packets
        if packet.protocol == socket.IPPROTO_TCP
        and not packet.leaving
        and packet.payload
        and server in (packet.source, packet.destination)
        and {packet.source_port, packet.destination_port} == {port, RECORDS_PORT}
    ]


def last(packets: Iterable[Packet], *, before: float = float("inf")) -> float | None:
    """When the latest of the packets passed, of those before a time."""
    return max((packet.at for packet in packets if packet.at < before), default=None)


def first(packets: Iterable[Packet], *, after: float) -> float | None:
    """When the earliest of the packets passed, of those at or after a time."""
    return min((packet.at for packet in packets if packet.at >= after), default=None)


def milliseconds(start: float, end: float) -> float:
    """From one Unix time to another, to a tenth of a millisecond."""
    return round((end - start) * 1000, 1)
