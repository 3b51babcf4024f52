"""Malformed datagrams end in the kernel: a socket filter that knows the four lengths and the reserved zeros of WireGuard.

With UDP_GRO the filter judges a whole train at once: it sees the first datagram's header and the length of all of them,
and not where one ends. So it drops only what cannot be a train with something sound in it. The rest passes, and
`Interface.receive` judges it datagram by datagram. Were it stricter,

- a response would be lost together with the first data behind it: GRO joins them, and their length is neither's;
- a stranger who spoofs a peer's address could put one bad datagram in front of 60 good ones and lose them all.

What remains: a spoofed bad datagram takes at most one shorter good one with it, which GRO joined to it. A train that is
longer than a datagram on an Ethernet passes unjudged; a flood that wants to reach us is better served by a good header.

The kernel counts what is dropped here in SK_MEMINFO_DROPS, together with what found no room in the socket's buffer and
with wrong checksums; a train counts once. `dropped` reads it.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from gateway.tunnel.bpf import (
    AND,
    AT_LEAST,
    EQUALS,
    GREATER,
    LOAD,
    LOAD_LENGTH,
    SUBTRACT,
    Assembled,
    Instruction,
    Program,
    answer,
    when,
)
from gateway.wireguard.messages import SIZES, TRANSPORT, TRANSPORT_MINIMUM

SO_ATTACH_FILTER, SO_LOCK_FILTER, SO_MEMINFO = 26, 44, 55
_MEMINFO = struct.Struct("=9I")
UDP_HEADER = 8
"""The filter of a UDP socket sees the UDP header in front, and no IP header in either family."""
LONE: Final = 1472
"""Bytes of the longest datagram that fits an Ethernet's 1500; what is longer is a train, or came from elsewhere."""
GRAIN = 16
"""Transport datagrams are padded to this, so in a train of them every header lies at a multiple of it."""
PASS = answer(0xFFFFFFFF)
DROP = answer(0)


def attach(sock: socket.socket) -> None:
    """Let the kernel drop what is malformed, before the first datagram comes; nobody can take the filter off again."""
    program = Assembled(PROGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program.fprog)
    sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def dropped(sock: socket.socket) -> int:
    """Say how many datagrams or trains the kernel dropped at this socket, modulo 2^32."""
    return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))[8])


def _header(kind: int) -> int:
    """The first four bytes of a message as BPF reads them: the type, and three bytes that must be zero."""
    return kind << 24


def _transport() -> Program:
    long_enough = when(AT_LEAST, UDP_HEADER + TRANSPORT_MINIMUM, PASS)
    return when(EQUALS, _header(TRANSPORT), [Instruction(LOAD_LENGTH), *long_enough, *DROP])


def _handshake(kind: int, size: int) -> Program:
    """Pass it when it is alone, or when behind it another message begins."""
    alone = when(EQUALS, UDP_HEADER + size, PASS)
    followed = [
        Instruction(LOAD, UDP_HEADER + size),
        Instruction(SUBTRACT, _header(1)),
        Instruction(AND, ~_header(3) & 0xFFFFFFFF),  # zero for the headers of types 1 to 4 and for nothing else
        *when(EQUALS, 0, PASS),
    ]
    train = when(GREATER, UDP_HEADER + size + 3, followed)
    return when(EQUALS, _header(kind), [Instruction(LOAD_LENGTH), *alone, *train])


def _hidden() -> Program:
    """Pass what begins malformed and yet may hold a transport datagram."""
    program = [Instruction(LOAD_LENGTH), *when(GREATER, UDP_HEADER + LONE, PASS)]
    for at in range(2 * GRAIN, LONE, GRAIN):
        program += [Instruction(LOAD, UDP_HEADER + at), *when(EQUALS, _header(TRANSPORT), PASS)]
    return program


def _program() -> Program:
    program: Program = []
    for part in (_transport(), *(_handshake(kind, size) for kind, size in SIZES.items())):
        program += [Instruction(LOAD, UDP_HEADER), *part]
    return [*program, *_hidden(), *DROP]


PROGRAM: Final = tuple(_program())
