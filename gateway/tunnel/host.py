"""What a gateway's host needs around the tunnel: addresses on the interface, link up, forwarding. By ip(8) and /proc."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from gateway.errors import HostError

FORWARDING = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}


def prepare(interface: str, pools: tuple[IPv4Network | IPv6Network, ...], mtu: int) -> None:
    """Give the interface the first address of every pool, bring it up, and let the host forward. Can be repeated.

    Raises HostError with what ip(8) said.
    """
    for pool in pools:
        _ip("address", "replace", f"{pool.network_address + 1}/{pool.prefixlen}", "dev", interface)
    _ip("link", "set", interface, "mtu", str(mtu), "up")
    for version in {pool.version for pool in pools}:
        _forward(FORWARDING[version])


def _forward(switch: Path) -> None:
    try:
        if switch.read_text().strip() == "0":
            switch.write_text("1\n")
    except OSError as error:
        raise HostError(f"cannot turn on forwarding: {switch}: {error.strerror}; set it to 1 on the host") from None


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        raise HostError("ip(8) is missing; install the package iproute2") from None
    if done.returncode:
        raise HostError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
