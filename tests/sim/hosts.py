"""Hosts for tests: the demo's own namespaces, with a direct route where the product has a tunnel."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from gateway.demo import namespaces, network
from gateway.demo.network import Network


@contextlib.contextmanager
def routed(name: str) -> Iterator[Network]:
    """The demo's three hosts; the gateway host is a plain router, so that parts can be tried without a tunnel."""
    with network.built(f"{namespaces.owner_mark()}-{name}") as built:
        built.gateway.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        built.laptop.ip("route", "add", "10.20.0.0/16", "via", network.GATEWAY)
        yield built


def namespace_names() -> set[str]:
    """Every named namespace of this machine."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


def interface_names() -> set[str]:
    """Every interface outside of the named namespaces."""
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {line.split(":")[1].strip() for line in listed.splitlines()}
