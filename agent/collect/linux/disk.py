"""Whether the volumes under /, /home and swap are encrypted, through every device of the chain below them.

LVM or RAID above LUKS counts, a RAID of which one half is clear does not. An image file behind a loop device does not
count: whoever has the disk has the image and, most often, its key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.collect.reading import Unreadable, absent, command, file, stated
from agent.wire import Fact

FACTS: Final = ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted", "disk.chain")
SWAPS: Final = ["Filename", "Type", "Size", "Used", "Priority"]
DEEPEST: Final = 32
Node = Mapping[str, Any]


def collect(*, now: float) -> dict[str, Fact]:
    """Follow the chains. What cannot be found of one volume (a /home on a server) says nothing about the others."""
    return {**_fact(_root, FACTS[0], now), **_fact(_home, FACTS[1], now), **_fact(_swaps, FACTS[2], now), **_chain(now)}


def _fact(look: Callable[[], tuple[bool, str]], name: str, now: float) -> dict[str, Fact]:
    try:
        sound, source = look()
    except Unreadable as error:
        return absent((name,), "disk", now, str(error))
    return {name: Fact(sound, source, now)}


def _chain(now: float) -> dict[str, Fact]:
    try:
        text = _root()[1]
    except Unreadable as error:
        return absent(FACTS[3:], "disk", now, str(error))
    return stated(text, now, disk__chain=text)


def _root() -> tuple[bool, str]:
    return _volume("/")


def _home() -> tuple[bool, str]:
    return _volume("/home" if Path("/home").exists() else "/")


def _swaps() -> tuple[bool, str]:
    found = [_swap(path) for path in parse_swaps(file("/proc/swaps"))]
    return all(sound for sound, _ in found), f"/proc/swaps: {'; '.join(text for _, text in found) or 'no swap'}"


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
    """All devices of a btrfs that `source` is one of: data lies on every one of them."""
    folders = Path("/sys/fs/btrfs").glob("*/devices")
    for folder in folders:
        names = [entry.name for entry in folder.iterdir()]
        if Path(source).resolve().name in names:
            return [f"/dev/{name}" for name in sorted(names)]
    return [source]


def _zfs(dataset: str) -> tuple[bool, str]:
    if parse_zfs(command("zfs", "get", "-H", "-o", "value", "encryption", dataset)):
        return True, f"{dataset} zfs encrypted"
    devices = parse_zpool(command("zpool", "list", "-v", "-H", "-P", dataset.partition("/")[0]))
    sound, text = _all(devices)
    return sound, f"{dataset} zfs < {text}"


def _swap(path: str) -> tuple[bool, str]:
    if re.fullmatch(r"/dev/zram\d+", path) and not _backing(Path(path).name):
        return True, f"{path} memory"  # compressed memory: nothing reaches a disk
    return _device(path) if path.startswith("/dev/") else _volume(path)


def _backing(zram: str) -> bool:
    """Whether the kernel may write this compressed memory out to a device after all (zram's writeback)."""
    path = Path("/sys/block") / zram / "backing_dev"
    return path.exists() and file(path).strip() != "none"


def parse_findmnt(text: str) -> tuple[str, str]:
    """Read `findmnt --json`: source and type of the file system, without the folder in brackets that a bind mount or a
    subvolume shows. Raises Unreadable.
    """
    try:
        found = json.loads(text)["filesystems"][0]
        source, kind = found["source"], found["fstype"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        source = kind = None
    if not isinstance(source, str) or not isinstance(kind, str):
        raise Unreadable("findmnt named no file system")
    return source.partition("[")[0], kind


def parse_lsblk(text: str) -> Node:
    """Read `lsblk --json --inverse DEVICE`: the device with what lies below it as `children`. Raises Unreadable."""
    try:
        tree = json.loads(text)["blockdevices"][0]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        tree = None
    if not _is_device(tree, 0):
        raise Unreadable("lsblk named no device")
    sound: Node = tree
    return sound


def _is_device(node: object, depth: int) -> bool:
    if not isinstance(node, dict) or not all(isinstance(node.get(m), str) and node[m] for m in ("name", "type")):
        return False
    below = node.get("children", [])
    return isinstance(below, list) and depth <= DEEPEST and all(_is_device(child, depth + 1) for child in below)


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
    children: list[Node] = node.get("children", [])
    return children


def chain(node: Node, depth: int = 0) -> str:
    """The way down as text: `vg-root lvm < luks crypt < sda3 part < sda disk`."""
    here = f"{node.get('name')} {node.get('type')}"
    below = [chain(child, depth + 1) for child in _below(node)] if depth < DEEPEST else []
    if not below:
        return here
    return f"{here} < {below[0] if len(below) == 1 else '(' + ' + '.join(below) + ')'}"


def parse_zfs(text: str) -> bool:
    """Read `zfs get -H -o value encryption` (zfsprops(7)): on with any cipher. Raises Unreadable."""
    value = text.strip()
    if not re.fullmatch(r"off|-|on|aes-(128|192|256)-(ccm|gcm)", value):
        raise Unreadable("zfs named no encryption")
    return value not in ("off", "-")


def parse_zpool(text: str) -> list[str]:
    """Read `zpool list -v -H -P POOL`: the devices and files of the pool, cache and spare devices included."""
    words = (line.split() for line in text.splitlines())
    return [line[0] for line in words if line and line[0].startswith("/")]


def parse_swaps(text: str) -> list[str]:
    """Read /proc/swaps (proc(5)): the files and devices; odd characters in names are octal. Raises Unreadable."""
    heading, *lines = [line.split() for line in text.split("\n") if line] or [[]]
    if heading != SWAPS or any(len(words) != len(SWAPS) for words in lines):
        raise Unreadable("/proc/swaps has another form")
    return [re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[0]) for words in lines]
