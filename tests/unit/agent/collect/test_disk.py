"""A volume counts as encrypted when every way down to a disk passes through dm-crypt, and never out of a text in doubt."""

from __future__ import annotations

import json

import pytest

from agent.collect.linux.disk import (
    chain,
    encrypted,
    parse_findmnt,
    parse_lsblk,
    parse_swaps,
    parse_zfs,
    parse_zpool,
)
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import names, recorded

CHAINS = {
    "one-clear-disk": (False, "vda disk"),
    "luks": (True, "luks-5f0c crypt < sda3 part < sda disk"),
    "nvme-partition": (False, "nvme0n1p2 part < nvme0n1 disk"),
    "nvme-luks": (True, "nvme0n1p3_crypt crypt < nvme0n1p3 part < nvme0n1 disk"),
    "lvm-on-luks": (True, "vg-root lvm < sda3_crypt crypt < sda3 part < sda disk"),
    "luks-on-lvm": (True, "luks-root crypt < vg-root lvm < sda3 part < sda disk"),
    "lvm-clear": (False, "vg-root lvm < sda3 part < sda disk"),
    "raid1-over-two-luks": (
        True,
        "md0 raid1 < (luks-a crypt < sda2 part < sda disk + luks-b crypt < sdb2 part < sdb disk)",
    ),
    "raid1-one-clear-half": (
        False,
        "md0 raid1 < (luks-a crypt < sda2 part < sda disk + sdb2 part < sdb disk)",
    ),
    "luks-on-raid1": (True, "luks-md crypt < md0 raid1 < (sda2 part < sda disk + sdb2 part < sdb disk)"),
    "luks-in-image-file": (False, "luks-img crypt < loop0 loop"),
    "loop-clear": (False, "loop0 loop"),
    "plain-crypt-swap": (True, "cryptswap1 crypt < sda4 part < sda disk"),
    "clear-swap": (False, "sda4 part < sda disk"),
    "btrfs-on-luks": (True, "luks-btrfs crypt < nvme0n1p3 part < nvme0n1 disk"),
    "multipath": (False, "mpatha-part2 part < mpatha mpath < (sda disk + sdb disk)"),
    "luks-on-multipath": (True, "luks-mp crypt < mpatha-part2 part < mpatha mpath < (sda disk + sdb disk)"),
}
SWAPS = {
    "none": [],
    "partition": ["/dev/dm-2"],
    "file": ["/swapfile"],
    "zram": ["/dev/zram0"],
    "several": ["/dev/sda4", "/my swap\\file"],
}
SOURCES = {
    "ext4": ("/dev/vda", "ext4"),
    "btrfs-subvolume": ("/dev/mapper/luks-btrfs", "btrfs"),
    "bind": ("/dev/mapper/vg-data", "ext4"),
    "zfs": ("rpool/ROOT/debian", "zfs"),
    "overlay": ("overlay", "overlay"),
    "nfs": ("files.example:/home", "nfs4"),
}
POOLS = {
    "one-disk": ["/dev/nvme0n1p4"],
    "mirror-with-cache": ["/dev/mapper/luks-a", "/dev/mapper/luks-b", "/dev/sdc1"],
    "with-file": ["/dev/mapper/luks-a", "/var/lib/tank.img"],
}


@pytest.mark.parametrize("name", CHAINS)
def test_every_way_down_must_pass_through_encryption(name: str) -> None:
    tree = parse_lsblk(recorded(f"disk/lsblk-{name}.json"))
    assert (encrypted(tree), chain(tree)) == CHAINS[name]


@pytest.mark.parametrize("name", SWAPS)
def test_swap_is_every_file_and_device_that_the_kernel_names(name: str) -> None:
    assert parse_swaps(recorded(f"disk/swaps-{name}.txt")) == SWAPS[name]


@pytest.mark.parametrize("name", SOURCES)
def test_a_mount_is_its_source_and_type_without_the_folder_on_it(name: str) -> None:
    assert parse_findmnt(recorded(f"disk/findmnt-{name}.json")) == SOURCES[name]


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_is_all_its_devices_and_files(name: str) -> None:
    assert parse_zpool(recorded(f"disk/zpool-{name}.txt")) == POOLS[name]


def test_every_recorded_file_is_judged() -> None:
    expected = {f"lsblk-{name}.json" for name in CHAINS} | {f"swaps-{name}.txt" for name in SWAPS}
    expected |= {f"findmnt-{name}.json" for name in SOURCES} | {f"zpool-{name}.txt" for name in POOLS}
    assert names("disk") == expected


@pytest.mark.parametrize(
    ("text", "on"),
    [("off\n", False), ("-\n", False), ("on\n", True), ("aes-256-gcm\n", True), ("aes-128-ccm", True)],
)
def test_zfs_encrypts_with_the_ciphers_that_it_has(text: str, on: bool) -> None:
    assert parse_zfs(text) is on


HOSTILE = [
    "",
    "\0",
    "null",
    "5",
    "[]",
    "{}",
    "verschlüsselt\n",
    "encrypted",
    "[" * 100_000,
    '{"a":' * 100_000,
    "x" * (10 << 20),
]


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        '{"blockdevices": []}',
        '{"blockdevices": [null]}',
        '{"blockdevices": {"0": {}}}',
        '{"blockdevices": [{}]}',
        '{"blockdevices": [{"name": "a", "type": "crypt", "children": [{}]}]}',
        '{"blockdevices": [{"name": "a", "type": "crypt", "children": [5]}]}',
        '{"blockdevices": [{"name": "a", "type": "crypt", "children": {"name": "b", "type": "disk"}}]}',
        '{"blockdevices": [{"name": "a", "type": ["crypt"]}]}',
        recorded("disk/lsblk-luks.json")[:-20],
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_names_no_device_is_not_encrypted(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_lsblk(text)


def test_a_chain_without_an_end_is_no_chain() -> None:
    node: dict[str, object] = {"name": "disk", "type": "disk"}
    for number in range(100):
        node = {"name": f"d{number}", "type": "crypt", "children": [node]}
    with pytest.raises(Unreadable):
        parse_lsblk(json.dumps({"blockdevices": [node]}))


def test_encryption_with_nothing_below_it_is_no_encryption() -> None:
    assert not encrypted(parse_lsblk('{"blockdevices": [{"name": "a", "type": "crypt"}]}'))
    assert not encrypted(parse_lsblk('{"blockdevices": [{"name": "a", "type": "crypt", "children": []}]}'))


@pytest.mark.parametrize(
    "text",
    [*HOSTILE, '{"filesystems": []}', '{"filesystems": [{"source": null, "fstype": "ext4"}]}', '{"filesystems": [[]]}'],
    ids=lambda text: ascii(text[:30]),
)
def test_what_names_no_file_system_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_findmnt(text)


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "/dev/sda4 partition 1 0 -2\n",
        recorded("disk/swaps-partition.txt")[:-30],
        "Nom de fichier Type Taille Utilisé Priorité\n",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_no_table_of_swaps_does_not_say_that_there_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_swaps(text)


@pytest.mark.parametrize("text", [*HOSTILE, "on off", "ON", "aes-256-xts"], ids=lambda text: ascii(text[:30]))
def test_an_unknown_word_of_zfs_is_no_encryption(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_zfs(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_what_names_no_pool_has_no_devices(text: str) -> None:
    assert parse_zpool(text) == []
