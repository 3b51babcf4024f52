"""What the tunnel gives up once everything is open: capabilities, new privileges, core dumps, most descriptors and system
calls. What stays to a user id is its files: seccomp lets none be opened, and a socket in its own folder be removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

from gateway.errors import HostError
from gateway.tunnel import seccomp
from gateway.tunnel.deputy import Deputy

NET_BIND_SERVICE, NET_ADMIN = 10, 12
DESCRIPTORS: Final = 128
"""TUN, sockets, epoll and the deputy are ten; `loop.MAX_CLIENTS` may connect. The rest is room for a change of port."""
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def has(capability: int) -> bool:
    """Say whether this process can use a capability now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> capability & 1)


def confine(*, deputy: bool) -> Deputy | None:
    """Give up everything, for good. A `deputy` keeps the opening of sockets, if there is privilege to keep."""
    kept = Deputy(lambda: drop(keep=(NET_BIND_SERVICE, NET_ADMIN))) if deputy and has(NET_ADMIN) else None
    drop()
    return kept


def drop(*, keep: Collection[int] = ()) -> None:
    """Keep these capabilities and nothing else. Raises HostError when the kernel does not let go."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _prctl(_PR_SET_DUMPABLE, 0)  # core dumps and ptrace(2) by the same user would show the keys
    _drop_capabilities(keep)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install()


def _drop_capabilities(keep: Collection[int]) -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if capability not in keep:
            _prctl(_PR_CAPBSET_DROP, capability, forgive=errno.EPERM)  # without CAP_SETPCAP no_new_privs has to do
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    kept = sum(1 << capability for capability in keep)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    _check(_libc.capset(header, sets), "capset")


def _prctl(option: int, value: int, *, forgive: int = 0) -> None:
    done = _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if done and ctypes.get_errno() != forgive:
        _check(done, f"prctl {option}")


def _check(done: int, call: str) -> None:
    if done:
        raise HostError(f"cannot drop privilege: {call}: {os.strerror(ctypes.get_errno())}")
