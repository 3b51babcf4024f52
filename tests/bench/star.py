"""A gateway host with one or more instances of the tunnel, and clients on hosts of their own, joined by a bridge."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.programs import Program
from tests.interop.ends import PROGRAMS, SOCKETS, uapi, until, wg

PORT = 51820
_numbers = itertools.count()


@dataclass(frozen=True)
class Tunnel:
    """One running program and its interface."""

    host: Host
    interface: str
    private_key: str
    program: Program

    @property
    def public_key(self) -> str:
        return wg("pubkey", text=self.private_key).strip()

    def set(self, *lines: str) -> None:
        """Configure by UAPI."""
        answer = uapi(self.interface, "\n".join(("set=1", *lines, "", "")))
        assert answer == "errno=0\n\n", answer


@dataclass(frozen=True)
class Star:
    """`gateways` are the instances; client n is `clients[n]` and reaches the gateway at `addresses[n]`."""

    gateways: list[Tunnel]
    clients: list[Tunnel]
    addresses: list[str]


@contextlib.contextmanager
def star(*, instances: int = 1, clients: int = 1, program: str = "native") -> Iterator[Star]:
    """Client n belongs to instance n modulo their number."""
    with contextlib.ExitStack() as stack:
        mark = f"{namespaces.owner_mark()}-s{next(_numbers)}"
        hosts = [Host.create(f"star{number}", mark=mark) for number in range(clients + 1)]
        for host in hosts:
            stack.callback(host.remove)
        _wire(hosts)
        gateways = [_start(stack, hosts[0], program, port=PORT + each) for each in range(instances)]
        ends = [_start(stack, host, program, port=PORT) for host in hosts[1:]]
        addresses = []
        for number, client in enumerate(ends):
            at = number % instances
            _join(gateways[at], client, number, at)
            addresses.append(f"10.99.{at}.1")
        for at, gateway in enumerate(gateways):
            gateway.host.ip("address", "add", f"10.99.{at}.1/24", "dev", gateway.interface)
            gateway.host.ip("link", "set", gateway.interface, "mtu", "1420", "up")
        for client, address in zip(ends, addresses, strict=True):
            client.host.run("ping", "-c", "2", "-i", "0.2", "-w", "10", address)
        yield Star(gateways, ends, addresses)


def _wire(hosts: list[Host]) -> None:
    gateway, *clients = hosts
    gateway.ip("link", "add", "bridge", "type", "bridge")
    gateway.ip("address", "add", "192.0.2.1/24", "dev", "bridge")
    gateway.ip("link", "set", "bridge", "up")
    for number, host in enumerate(clients, 2):
        ends = ["netns", gateway.name, "type", "veth", "peer", "name", "wire", "netns", host.name]
        namespaces.ip("link", "add", f"port{number}", *ends)
        gateway.ip("link", "set", f"port{number}", "master", "bridge", "up")
        host.ip("address", "add", f"192.0.2.{number}/24", "dev", "wire")
        host.ip("link", "set", "wire", "up")


def _start(stack: contextlib.ExitStack, host: Host, program: str, *, port: int) -> Tunnel:
    interface, key = f"wg{os.getpid()}y{next(_numbers)}", wg("genkey").strip()
    environment = {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
    running = Program(interface, [*PROGRAMS[program], "-f", interface], environment=environment, within=host.command())
    stack.callback((SOCKETS / f"{interface}.sock").unlink, missing_ok=True)
    stack.callback(running.end)
    until((SOCKETS / f"{interface}.sock").exists, "the UAPI socket")
    wg("set", interface, "private-key", "/dev/stdin", "listen-port", str(port), text=key)
    return Tunnel(host, interface, key, running)


def _join(gateway: Tunnel, client: Tunnel, number: int, instance: int) -> None:
    inner = f"10.99.{instance}.{number + 2}"
    wg("set", gateway.interface, "peer", client.public_key, "allowed-ips", f"{inner}/32")
    endpoint = f"192.0.2.1:{PORT + instance}"
    wg("set", client.interface, "peer", gateway.public_key, "endpoint", endpoint, "allowed-ips", "10.99.0.0/16")
    client.host.ip("address", "add", f"{inner}/24", "dev", client.interface)
    client.host.ip("link", "set", client.interface, "mtu", "1420", "up")
