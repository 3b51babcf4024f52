"""A TUN that outlives processes and belongs to a user: what root makes once, so that the tunnel needs no privilege at all.

What was changed is recorded under /run, where the TUN and the sysctls live no longer than the record: until a reboot.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import stat
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

from gateway.errors import HostError
from gateway.tunnel import host
from gateway.tunnel.control import DIRECTORY

RECORDS: Final = Path("/run/sallyport")
_INTERFACES = Path("/sys/class/net")
_IFF_TUN, _IFF_PERSIST = 0x0001, 0x0800


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that the tunnel runs as."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> Owner:
        """Find a user by name or number; a number needs no entry in the user database. Raises HostError."""
        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except KeyError:
            if name.isdecimal():
                return cls(int(name), int(name))
            raise HostError(f"there is no user {name!r}: make it with useradd --system, or give a number") from None
        return cls(entry.pw_uid, entry.pw_gid)


def make(interface: str, owner: Owner, pools: tuple[IPv4Network | IPv6Network, ...], mtu: int) -> None:
    """Make the TUN with addresses and routes, forwarding, and the folder of the control socket. Can be repeated.

    Raises HostError; what was done until then is undone by `remove`.
    """
    existing = _owned_by(interface)
    if existing not in (None, owner.uid):
        raise HostError(f"{interface} exists and is no persistent TUN of user {owner.uid}: run setup-host --undo first")
    _record(interface, pools)
    if existing is None:
        host.ip("tuntap", "add", "dev", interface, "mode", "tun", "user", str(owner.uid))
    host.prepare(interface, pools, mtu)
    _give_folder(owner)


def _give_folder(owner: Owner) -> None:
    """Let the user put the control socket there. A group that somebody chose stays: who configures the tunnel is in it."""
    DIRECTORY.mkdir(mode=0o750, parents=True, exist_ok=True)
    found = DIRECTORY.stat()
    if found.st_gid == owner.gid and found.st_mode & stat.S_IWGRP:
        return  # a volume with Kubernetes' fsGroup; its root has no CAP_CHOWN, and needs none
    os.chown(DIRECTORY, owner.uid, found.st_gid or owner.gid)


def remove(interface: str) -> None:
    """Undo `make`: delete the TUN, and put back what was changed. Does nothing where nothing was made."""
    path = _record_path(interface)
    if not path.exists():
        return
    if _owned_by(interface) not in (None, -1):
        host.ip("link", "delete", interface)
    before = json.loads(path.read_text())
    path.unlink()
    if list(RECORDS.glob("*.json")):
        return  # another interface needs them still
    for switch in before["forwarding"]:
        Path(switch).write_text("0\n")
    with contextlib.suppress(OSError):  # the folder is gone, or somebody else uses it by now
        if before["folder"] is None:
            DIRECTORY.rmdir()
        else:
            os.chown(DIRECTORY, *before["folder"])


def _owned_by(interface: str) -> int | None:
    """The user of a persistent TUN; None when there is no such interface; -1 when it is something else."""
    device = _INTERFACES / interface
    if not device.exists():
        return None
    try:
        flags, owner = int((device / "tun_flags").read_text(), 16), int((device / "owner").read_text())
    except FileNotFoundError:
        return -1
    return owner if flags & _IFF_TUN and flags & _IFF_PERSIST else -1


def _record_path(interface: str) -> Path:
    return RECORDS / f"{interface}.json"


def _record(interface: str, pools: tuple[IPv4Network | IPv6Network, ...]) -> None:
    """Write down how it was before the first `make`."""
    path = _record_path(interface)
    if path.exists():
        return
    switches = [host.FORWARDING[pool.version] for pool in pools]
    found = DIRECTORY.stat() if DIRECTORY.exists() else None
    before = {
        "forwarding": [str(switch) for switch in switches if switch.read_text().strip() == "0"],
        "folder": None if found is None else (found.st_uid, found.st_gid),
    }
    RECORDS.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps(before))
