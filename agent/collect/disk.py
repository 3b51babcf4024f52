"""Whether the volumes under /, /home and swap are encrypted, through every device of the chain below them.

LVM or RAID above LUKS counts, a RAID of which one half is clear does not. An image file behind a loop device does not
count: whoever has the disk has the image and, most often, its key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agent.collect.reading import Unreadable, command, file, stated
from agent.wire import Fact

FACTS: Final = ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted", "disk.chain")
DEEPEST: Final = 32
Node = Mapping[str, Any]


def collect(*, now: float) -> dict[str, Fact]:
    """Follow the chains. Raises Unreadable when the volumes cannot be found."""
    root = _volume("/")
    home = _volume("/home") if Path("/home").exists() else root
    swaps = [_swap(path) for path in parse_swaps(file("/proc/swaps"))]
    swapped = "; ".join(text for _, text in swaps) or "no swap"
    return {
        **stated(root[1], now, disk__root_encrypted=root[0], disk__chain=root[1]),
        **stated(home[1], now, disk__home_encrypted=home[0]),
        **stated(f"/proc/swaps: {swapped}", now, disk__swap_encrypted=all(sound for sound, _ in swaps)),
    }


def _volume(target: str) -> tuple[bool, str]:
    """Whether the file system that holds `target` is encrypted, and the chain as text."""
    source, kind = parse_findmnt(command("findmnt", "--json", "--target", target, "--output", "SOURCE,FSTYPE,UUID"))
    if kind == "zfs":
        return _zfs(source)
    if kind == "btrfs":
        return _all(_btrfs_devices(source))
    if not source.startswith("/dev/"):
        raise Unreadable(f"{target} is on {source} ({kind}), which is no block device")
    return _device(source)


def _device(path: str) -> tuple[bool, str]:
    tree = parse_lsblk(command("lsblk", "--json", "--inverse", "--output", "NAME,TYPE,FSTYPE", path))
    return encrypted(tree), chain(tree)


def _all(devices: list[str]) -> tuple[bool, str]:
    found = [_device(device) for device in devices]
    return bool(found) and all(sound for sound, _ in found), " + ".join(text for _, text in found)


def _btrfs_devices(source: str) -> list[str]:
    """All devices of a btrfs that `source` (`/dev/sda2[/@]`) is one of: data lies on every one of them."""
    first = source.partition("[")[0]
    folders = Path("/sys/fs/btrfs").glob("*/devices")
    for folder in folders:
        names = [entry.name for entry in folder.iterdir()]
        if Path(first).resolve().name in names:
            return [f"/dev/{name}" for name in sorted(names)]
    return [first]


def _zfs(dataset: str) -> tuple[bool, str]:
    if parse_zfs(command("zfs", "get", "-H", "-o", "value", "encryption", dataset)):
        return True, f"{dataset} zfs encrypted"
    devices = parse_zpool(command("zpool", "list", "-v", "-H", "-P", dataset.partition("/")[0]))
    sound, text = _all(devices)
    return sound, f"{dataset} zfs < {text}"


def _swap(path: str) -> tuple[bool, str]:
    if Path(path).name.startswith("zram"):
        return True, f"{path} memory"  # compressed memory: nothing reaches a disk
    return _device(path) if path.startswith("/dev/") else _volume(path)


def parse_findmnt(text: str) -> tuple[str, str]:
    """Read `findmnt --json`: source and type of the file system. Raises Unreadable."""
    try:
        found = json.loads(text)["filesystems"][0]
        return str(found["source"]), str(found["fstype"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Unreadable("findmnt named no file system") from None


def parse_lsblk(text: str) -> Node:
    """Read `lsblk --json --inverse DEVICE`: the device with what lies below it as `children`. Raises Unreadable."""
    try:
        tree = json.loads(text)["blockdevices"][0]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise Unreadable("lsblk named no device")
    return tree


def encrypted(node: Node, depth: int = 0) -> bool:
    """Whether every way down from the device passes through dm-crypt and none ends in a loop device."""
    if depth > DEEPEST or node.get("type") == "loop":
        return False
    below = _below(node)
    if node.get("type") == "crypt":
        return bool(below) and not any(_has_loop(child, depth + 1) for child in below)
    return bool(below) and all(encrypted(child, depth + 1) for child in below)


def _has_loop(node: Node, depth: int) -> bool:
    return depth > DEEPEST or node.get("type") == "loop" or any(_has_loop(c, depth + 1) for c in _below(node))


def _below(node: Node) -> list[Node]:
    children = node.get("children")
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []


def chain(node: Node, depth: int = 0) -> str:
    """The way down as text: `vg-root lvm < luks crypt < sda3 part < sda disk`."""
    here = f"{node.get('name')} {node.get('type')}"
    below = [chain(child, depth + 1) for child in _below(node)] if depth < DEEPEST else []
    if not below:
        return here
    return f"{here} < {below[0] if len(below) == 1 else '(' + ' + '.join(below) + ')'}"


def parse_zfs(text: str) -> bool:
    """Read `zfs get -H -o value encryption`: on with any cipher."""
    value = text.strip()
    return bool(value) and value not in ("off", "-")


def parse_zpool(text: str) -> list[str]:
    """Read `zpool list -v -H -P POOL`: the devices of the pool, cache and spare devices included."""
    words = (line.split() for line in text.splitlines())
    return [line[0] for line in words if line and line[0].startswith("/dev/")]


def parse_swaps(text: str) -> list[str]:
    """Read /proc/swaps (proc(5)): the files and devices; spaces in their names are written \\040."""
    return [line.split()[0].replace("\\040", " ") for line in text.splitlines()[1:] if line.strip()]
