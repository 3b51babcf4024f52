"""What a gateway's host needs around the tunnel: addresses on the interface, link up, forwarding. By ip(8) and /proc."""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from gateway.errors import HostError
from gateway.wireguard.outbox import segments_per_train

FORWARDING = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}


def prepare(interface: str, pools: tuple[IPv4Network | IPv6Network, ...], mtu: int) -> None:
    """Give the interface the first address of every pool, bring it up, and let the host forward. Can be repeated.

    Raises HostError with what ip(8) said.
    """
    for pool in pools:
        ip("address", "replace", _first(pool), "dev", interface)
    ip("link", "set", interface, "mtu", str(mtu), "gso_max_segs", str(segments_per_train(mtu)), "up")
    for version in {pool.version for pool in pools}:
        _forward(FORWARDING[version])


def check(interface: str, pools: tuple[IPv4Network | IPv6Network, ...], mtu: int) -> None:
    """Raise HostError unless everything is as `prepare` leaves it. Needs no privilege."""
    told = json.loads(ip("-j", "address", "show", "dev", interface))[0]
    present = {f"{each.get('local')}/{each.get('prefixlen')}" for each in told["addr_info"]}
    missing = [str(address) for pool in pools if (address := _first(pool)) not in present]
    missing += [] if "UP" in told["flags"] else ["link up"]
    missing += [] if told["mtu"] == mtu else [f"mtu {mtu}"]
    missing += [str(switch) for pool in pools if (switch := FORWARDING[pool.version]).read_text().strip() == "0"]
    if missing:
        raise HostError(
            f"{interface} lacks {', '.join(missing)}: run `sallyport setup-host --user {os.geteuid()}` as root"
        )


def _first(pool: IPv4Network | IPv6Network) -> str:
    return f"{pool.network_address + 1}/{pool.prefixlen}"


def _forward(switch: Path) -> None:
    try:
        if switch.read_text().strip() == "0":
            switch.write_text("1\n")
    except OSError as error:
        raise HostError(f"cannot turn on forwarding: {switch}: {error.strerror}; set it to 1 on the host") from None


def ip(*arguments: str) -> str:
    """Run ip(8); give what it prints. Raises HostError with its complaint."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        raise HostError("ip(8) is missing; install the package iproute2") from None
    if done.returncode:
        raise HostError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
