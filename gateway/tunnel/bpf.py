"""Classic BPF (bpf(4), kernel Documentation/networking/filter.rst): instructions, and the struct in which setsockopt(2)
and prctl(2) take them. It only jumps forward, so a program is written as checks from top to bottom.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

LOAD: Final = 0x20
"""A = the 32-bit word at an offset; a socket filter that reads past the end gives 0, which drops."""
LOAD_LENGTH: Final = 0x80
SUBTRACT: Final = 0x14
AND: Final = 0x54
EQUALS: Final = 0x15
GREATER: Final = 0x25
AT_LEAST: Final = 0x35
RETURN: Final = 0x06
_INSTRUCTION = struct.Struct("=HBBI")


class Instruction(NamedTuple):
    """One instruction. A comparison skips `no` instructions when it does not hold, `yes` when it does."""

    code: int
    k: int = 0
    yes: int = 0
    no: int = 0


Program = list[Instruction]


def when(comparison: int, k: int, then: Program) -> Program:
    """Run `then` only if A compares to `k` like that; a `then` that does not return goes on behind it."""
    return [Instruction(comparison, k, 0, len(then)), *then]


def answer(value: int) -> Program:
    """End with this verdict."""
    return [Instruction(RETURN, value)]


class Assembled:
    """A program in memory. `fprog` is a struct sock_fprog that points into it: keep this object while it is used."""

    def __init__(self, program: Iterable[Instruction]) -> None:
        code = b"".join(_INSTRUCTION.pack(each.code, each.yes, each.no, each.k) for each in program)
        self._memory = ctypes.create_string_buffer(code, len(code))
        self.fprog = struct.pack("HP", len(code) // _INSTRUCTION.size, ctypes.addressof(self._memory))
