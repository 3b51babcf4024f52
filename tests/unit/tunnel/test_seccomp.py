"""The seccomp program itself, run by a small interpreter of classic BPF, for both architectures."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from gateway.tunnel import bpf, seccomp
from gateway.tunnel.seccomp import CALLS, IOCTL, MMAP, MPROTECT, SOCKET

ALLOWED, REFUSED, KILLED = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
both = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would answer to this call."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, AUDIT[machine] if architecture is None else architecture, 0, *padded)
    accumulator, at = 0, 0
    program = seccomp._program(machine)
    while True:
        code, k, yes, no = program[at]
        at += 1
        match code:
            case bpf.LOAD:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case bpf.AND:
                accumulator &= k
            case bpf.EQUALS:
                at += yes if accumulator == k else no
            case bpf.RETURN:
                return k


@both
def test_only_the_listed_calls_are_allowed(machine: str) -> None:
    listed = {number for numbers in CALLS.values() if (number := getattr(numbers, machine)) is not None}
    assert {number for number in range(600) if verdict(machine, number) == ALLOWED} - listed <= {
        getattr(MMAP, machine),  # with no arguments these two ask for nothing that is executable
        getattr(MPROTECT, machine),
    }
    assert all(verdict(machine, number) == ALLOWED for number in listed)


@both
def test_every_number_is_listed_once(machine: str) -> None:
    listed = [number for numbers in CALLS.values() if (number := getattr(numbers, machine)) is not None]
    assert len(listed) == len(set(listed))


@both
def test_a_call_of_another_architecture_kills(machine: str) -> None:
    assert verdict(machine, 0, architecture=0x40000003) == KILLED


def test_the_x32_numbers_are_refused() -> None:
    assert all(verdict("x86_64", number | 0x40000000) == REFUSED for number in range(600))


@both
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagram_sockets_are_allowed(machine: str, family: int) -> None:
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    assert verdict(machine, getattr(SOCKET, machine), family, kind) == ALLOWED


@both
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_INET, socket.SOCK_RAW),
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET6, socket.SOCK_RAW),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_NETLINK, socket.SOCK_DGRAM),
        (socket.AF_PACKET, socket.SOCK_DGRAM),
    ],
)
def test_any_other_socket_is_refused(machine: str, family: int, kind: int) -> None:
    assert verdict(machine, getattr(SOCKET, machine), family, kind) == REFUSED


@both
@pytest.mark.parametrize("numbers", [MMAP, MPROTECT], ids=["mmap", "mprotect"])
def test_memory_may_be_had_and_not_made_executable(machine: str, numbers: seccomp.Numbers) -> None:
    number = getattr(numbers, machine)
    assert verdict(machine, number, 0, 4096, 3) == ALLOWED
    assert verdict(machine, number, 0, 4096, 5) == REFUSED
    assert verdict(machine, number, 0, 4096, 7) == REFUSED


@both
def test_of_ioctl_only_setblocking_and_the_number_of_an_interface_are_allowed(machine: str) -> None:
    number = getattr(IOCTL, machine)
    assert verdict(machine, number, 3, 0x5421) == ALLOWED
    assert verdict(machine, number, 3, 0x8933) == ALLOWED, "SIOCGIFINDEX"
    assert verdict(machine, number, 3, 0x8914) == REFUSED, "SIOCSIFFLAGS"
    assert verdict(machine, number, 3, 0x400454CA) == REFUSED, "TUNSETIFF"
