"""Three hosts and two wires: a laptop on the internet, a gateway with a foot on both sides, an office behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.demo import namespaces
from gateway.demo.namespaces import Host

LAPTOP: Final = "198.51.100.7"
GATEWAY: Final = "198.51.100.1"
INTERNET_PREFIX: Final = 24
OFFICE_ROUTER: Final = "10.20.0.1"
OFFICE_PREFIX: Final = 16
WIKI: Final = "10.20.0.10"
PAYROLL: Final = "10.20.5.10"
REMEDIATION: Final = "10.20.9.10"
SERVERS: Final = {"wiki": WIKI, "payroll": PAYROLL, "remediation": REMEDIATION}

INTERNET_WIRE: Final = "internet"
OFFICE_WIRE: Final = "office"


@dataclass(frozen=True, slots=True)
class Network:
    """The three hosts, cabled and addressed."""

    laptop: Host
    gateway: Host
    office: Host

    @property
    def hosts(self) -> tuple[Host, Host, Host]:
        """All hosts, in the order of the picture."""
        return self.laptop, self.gateway, self.office


@contextlib.contextmanager
def built(mark: str) -> Iterator[Network]:
    """The network for the length of the `with`; every namespace and interface of it is gone afterwards."""
    try:
        network = Network(*(Host.create(role, mark=mark) for role in ("laptop", "gateway", "office")))
        _cable(network.laptop, network.gateway, INTERNET_WIRE)
        _cable(network.gateway, network.office, OFFICE_WIRE)
        _address(network)
        yield network
    finally:
        for role in ("laptop", "gateway", "office"):
            namespaces.remove(f"{mark}-{role}")


def _cable(one: Host, other: Host, wire: str) -> None:
    """A wire between two hosts, with the same name at both ends. It never appears outside the two."""
    end = ("netns", other.name)
    namespaces.ip("link", "add", wire, "netns", one.name, "type", "veth", "peer", "name", wire, *end)
    for host in (one, other):
        host.ip("link", "set", wire, "up")


def _address(network: Network) -> None:
    network.laptop.ip("address", "add", f"{LAPTOP}/{INTERNET_PREFIX}", "dev", INTERNET_WIRE)
    network.gateway.ip("address", "add", f"{GATEWAY}/{INTERNET_PREFIX}", "dev", INTERNET_WIRE)
    network.gateway.ip("address", "add", f"{OFFICE_ROUTER}/{OFFICE_PREFIX}", "dev", OFFICE_WIRE)
    for address in SERVERS.values():
        network.office.ip("address", "add", f"{address}/{OFFICE_PREFIX}", "dev", OFFICE_WIRE)
    network.office.ip("route", "add", "default", "via", OFFICE_ROUTER)
