"""The witness: what was seen on a wire, with the kernel's time of arrival. It hears no program and believes no API."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.demo.namespaces import Host
from gateway.demo.records import numbers

ETH_P_ALL: Final = 0x0003
SO_TIMESTAMPNS: Final = 35
BUFFER: Final = 1 << 22  # bytes: seconds of what the demo sends, so that a busy machine loses none
_TIMESPEC = struct.Struct("@qq")


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it passed: Unix time in seconds, on which interface, IPv4 addresses, ports, what it carried, and
    whether it was leaving the host."""

    at: float
    interface: str
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    leaving: bool

    @property
    def numbers(self) -> list[int]:
        """The numbers of the records in it."""
        return numbers(self.payload)


class Witness:
    """Listens on one host from `__init__` to `close` and remembers the packets that `keep` says yes to."""

    def __init__(self, host: Host, keep: Callable[[Packet], bool]) -> None:
        """Every interface is heard, also one that appears later."""
        self._keep = keep
        with host.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.1)
        self._packets: list[Packet] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True, name=f"witness-{host.role}")
        self._thread.start()

    def seen(self, since: float = 0.0) -> list[Packet]:
        """All packets that arrived at or after `since` (Unix seconds), oldest first."""
        packets = self._packets[:]  # appended to by one thread; a slice is one step for the interpreter
        return [packet for packet in packets if packet.at >= since]

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                data, ancillary, _, address = self._socket.recvmsg(65535, 64)
            except TimeoutError:
                continue
            except OSError:
                return  # the interface is gone
            leaving = address[2] == socket.PACKET_OUTGOING
            packet = parse(data, at=_time(ancillary), interface=address[0], leaving=leaving)
            if packet is not None and self._keep(packet):
                self._packets.append(packet)


def _time(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def parse(data: bytes, *, at: float, interface: str, leaving: bool) -> Packet | None:
    """An IPv4 TCP or UDP packet; everything else (ARP, IPv6, fragments after the first) is None."""
    if len(data) < 20 or data[0] >> 4 != 4 or int.from_bytes(data[6:8], "big") & 0x1FFF:
        return None
    start, protocol = (data[0] & 0xF) * 4, data[9]
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or len(data) < start + 20 - 12 * (protocol == 17):
        return None
    source_port, destination_port = struct.unpack_from("!HH", data, start)
    header = (data[start + 12] >> 4) * 4 if protocol == socket.IPPROTO_TCP else 8
    end = int.from_bytes(data[2:4], "big") or len(data)  # a super-packet beyond 64 KiB says 0
    source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    payload = data[start + header : end]
    return Packet(at, interface, protocol, source, source_port, destination, destination_port, payload, leaving)
