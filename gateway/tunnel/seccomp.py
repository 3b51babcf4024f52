"""The system calls that are left (seccomp(2)): moving packets, answering the control socket, opening UDP sockets, ending.

Everything else fails with EPERM: no program is started, no process made or traced, no file opened or written, no other
kind of socket, no memory made executable. The list was found by strace(1) over a tunnel's whole life with both
transforms. Numbers are per architecture; elsewhere there is no filter, and `supported` says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import sys
from typing import Final, NamedTuple

from gateway.errors import HostError
from gateway.tunnel.bpf import AND, EQUALS, LOAD, Assembled, Instruction, Program, answer, when

ALLOW: Final = answer(0x7FFF0000)
REFUSE: Final = answer(0x00050000 | errno.EPERM)
KILL: Final = answer(0x80000000)
_PR_SET_SECCOMP, _FILTER = 22, 2
_NUMBER, _ARCHITECTURE = 0, 4
_PROT_EXEC = 4
_FIONBIO, _SIOCGIFINDEX, _F_GETFL = 0x5421, 0x8933, 3


class Numbers(NamedTuple):
    """The number of a call on each architecture; None where it has no such call."""

    x86_64: int | None
    aarch64: int | None


_AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS: Final = {
    # packets and the control socket
    "read": Numbers(0, 63),
    "write": Numbers(1, 64),
    "pwrite64": Numbers(18, 68),
    "readv": Numbers(19, 65),
    "writev": Numbers(20, 66),
    "recvfrom": Numbers(45, 207),
    "sendto": Numbers(44, 206),
    "recvmsg": Numbers(47, 212),
    "sendmsg": Numbers(46, 211),
    "accept4": Numbers(288, 242),
    "shutdown": Numbers(48, 210),
    "close": Numbers(3, 57),
    "epoll_ctl": Numbers(233, 21),
    "epoll_wait": Numbers(232, None),
    "epoll_pwait": Numbers(281, 22),
    # UDP sockets
    "bind": Numbers(49, 200),
    "getsockname": Numbers(51, 204),
    "getpeername": Numbers(52, 205),
    "getsockopt": Numbers(55, 209),
    "setsockopt": Numbers(54, 208),
    "socketpair": Numbers(53, 199),
    # the socket's file
    "fstat": Numbers(5, 80),
    "newfstatat": Numbers(262, 79),
    "statx": Numbers(332, 291),
    "unlink": Numbers(87, None),
    "unlinkat": Numbers(263, 35),
    # time, memory, signals, the end
    "clock_gettime": Numbers(228, 113),
    "getrandom": Numbers(318, 278),
    "brk": Numbers(12, 214),
    "munmap": Numbers(11, 215),
    "mremap": Numbers(25, 216),
    "madvise": Numbers(28, 233),
    "futex": Numbers(202, 98),
    "getpid": Numbers(39, 172),
    "gettid": Numbers(186, 178),
    "rt_sigaction": Numbers(13, 134),
    "rt_sigprocmask": Numbers(14, 135),
    "rt_sigreturn": Numbers(15, 139),
    "sigaltstack": Numbers(131, 132),
    "restart_syscall": Numbers(219, 128),
    "wait4": Numbers(61, 260),
    "exit": Numbers(60, 93),
    "exit_group": Numbers(231, 94),
}
"""Allowed with any arguments."""
SOCKET: Final = Numbers(41, 198)
MMAP: Final = Numbers(9, 222)
MPROTECT: Final = Numbers(10, 226)
IOCTL: Final = Numbers(16, 29)
FCNTL: Final = Numbers(72, 25)


def supported() -> bool:
    """Say whether there is a filter for this machine."""
    return sys.byteorder == "little" and platform.machine() in _AUDIT


def install() -> None:
    """Refuse everything else from now on, for good. Needs no_new_privs. Does nothing where it is not supported."""
    if not supported():
        return
    program = Assembled(_program(platform.machine()))
    fprog = ctypes.create_string_buffer(program.fprog, len(program.fprog))
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_FILTER), fprog, none, none):
        raise HostError(f"cannot install the seccomp filter: {os.strerror(ctypes.get_errno())}")


def _program(machine: str) -> Program:
    here = Numbers._fields.index(machine)
    program = [Instruction(LOAD, _ARCHITECTURE), Instruction(EQUALS, _AUDIT[machine], 1, 0), *KILL]
    program.append(Instruction(LOAD, _NUMBER))
    for numbers in CALLS.values():
        number = numbers[here]
        program += [] if number is None else when(EQUALS, number, ALLOW)
    for numbers, rule in (
        (SOCKET, _udp()),
        (MMAP, _no_code()),
        (MPROTECT, _no_code()),
        (IOCTL, [*_only(_FIONBIO), *_only(_SIOCGIFINDEX)]),  # setblocking; the number of an interface in an endpoint
        (FCNTL, _only(_F_GETFL)),  # signal.set_wakeup_fd asks whether it blocks
    ):
        number = numbers[here]
        assert number is not None
        program += when(EQUALS, number, [*rule, *REFUSE])
    return [*program, *REFUSE]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument; the calls that are judged by one take 32 bits there."""
    return Instruction(LOAD, 16 + 8 * index)


def _udp() -> Program:
    """Allow socket(2) for datagrams of either family."""
    kind = [_argument(1), Instruction(AND, 0xF), *when(EQUALS, socket.SOCK_DGRAM, ALLOW)]
    families = (socket.AF_INET, socket.AF_INET6)
    return [each for family in families for each in (_argument(0), *when(EQUALS, family, kind))]


def _no_code() -> Program:
    """Allow memory that is not executable."""
    return [_argument(2), Instruction(AND, _PROT_EXEC), *when(EQUALS, 0, ALLOW)]


def _only(command: int) -> Program:
    """Allow this second argument and no other."""
    return [_argument(1), *when(EQUALS, command, ALLOW)]
