"""Leaks: what belongs into the tunnel is never seen in clear on the wire, whatever routes, networks and signals do.

The witness is the kernel's own counter at the other end of the wire, before anything there can drop a packet; each test
first shows that it counts what leaks when nothing protects.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.administrator import Administrator
from gateway.demo.namespaces import Host
from gateway.demo.network import GATEWAY, INTERNET_WIRE, WIKI
from gateway.demo.stage import URL, built
from tests.e2e.test_agent import Laptop, eventually, reached

MANY = 100_000
TRAIN = 50
SIZE = 64
UDP_SEGMENT = 103
"""linux/udp.h: one system call sends a train of datagrams."""
ELSEWHERE = "198.51.100.66"
"""A machine of the attacker on the laptop's network."""
RESOLVER = "198.51.100.53"
V6_LAPTOP, V6_GATEWAY, V6_OFFICE = "2001:db8:1::7", "2001:db8:1::1", "2001:db8:20::10"


class Wire:
    """What arrives at the gateway host in clear from the laptop, by kind."""

    KINDS = ("office", "dns", "v6")

    def __init__(self, host: Host) -> None:
        self._host = host
        rules = "\n".join(
            [
                "table netdev witness {",
                *(f"  counter {kind} {{ }}" for kind in self.KINDS),
                f"  chain in {{ type filter hook ingress device {INTERNET_WIRE} priority -500;",
                "    ip daddr 10.20.0.0/16 counter name office",
                "    meta l4proto { tcp, udp } th dport { 53, 853 } counter name dns",
                "    ip6 daddr 2001:db8:20::/48 counter name v6",
                "  }",
                "}",
            ]
        )
        host.run("nft", "-f", "-", text=rules)

    def seen(self) -> dict[str, int]:
        listed = json.loads(self._host.run("nft", "--json", "list", "counters", "table", "netdev", "witness"))
        counters = [entry["counter"] for entry in listed["nftables"] if "counter" in entry]
        return {counter["name"]: counter["packets"] for counter in counters}

    def remove(self) -> None:
        self._host.run("nft", "delete", "table", "netdev", "witness")


class Sender:
    """Datagrams from the laptop, in trains; what the kernel refuses to send was tried all the same."""

    def __init__(self, host: Host) -> None:
        with host.entered():
            self._four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.tried = 0

    def send(self, address: str, port: int = 9, *, packets: int = MANY) -> None:
        sender = self._six if ":" in address else self._four
        control = [(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE.to_bytes(2, "little"))]
        for _ in range(packets // TRAIN):
            with contextlib.suppress(OSError):
                sender.sendmsg([bytes(SIZE * TRAIN)], control, 0, (address, port))
            self.tried += TRAIN

    def close(self) -> None:
        self._four.close()
        self._six.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Laptop]:
    with built(lambda _: None) as stage:
        host, gateway = stage.network.laptop, stage.network.gateway
        for one, address in ((host, V6_LAPTOP), (gateway, V6_GATEWAY)):
            one.ip("-6", "address", "add", f"{address}/64", "dev", INTERNET_WIRE, "nodad")
        host.ip("route", "add", "default", "via", GATEWAY)
        host.ip("-6", "route", "add", "default", "via", V6_GATEWAY)
        for address in (ELSEWHERE, RESOLVER):
            gateway.ip("address", "add", f"{address}/32", "dev", INTERNET_WIRE)
        laptop = Laptop(stage)
        laptop.enrol()
        yield laptop
        laptop.end()


@pytest.fixture
def laptop(shared: Laptop) -> Iterator[Laptop]:
    yield shared
    for program in shared._programs:
        program.signal(signal.SIGCONT)
        program.end()
    shared.call("down")
    shared._programs.clear()
    eventually(shared.clean, "the end of the interface")


@pytest.fixture
def wire(shared: Laptop) -> Iterator[Wire]:
    made = Wire(shared.stage.network.gateway)
    yield made
    made.remove()


@pytest.fixture
def sender(shared: Laptop) -> Iterator[Sender]:
    made = Sender(shared.host)
    yield made
    made.close()


def leaks_without_protection(wire: Wire, sender: Sender, kind: str, address: str, port: int = 9) -> None:
    """The witness sees what it is there for."""
    before = wire.seen()[kind]
    sender.send(address, port, packets=10 * TRAIN)
    eventually(lambda: wire.seen()[kind] > before, f"a leak without protection ({kind})")


def tables(host: Host) -> str:
    return host.run("nft", "list", "tables")


def rules(host: Host) -> str:
    return host.ip("rule") + host.ip("-6", "rule")


def test_more_specific_routes_take_nothing_out_of_the_tunnel(laptop: Laptop, wire: Wire, sender: Sender) -> None:
    """TunnelVision (CVE-2024-3661): what DHCP option 121 would add."""
    injected = ("0.0.0.0/1", "128.0.0.0/1", "10.20.0.0/16", "10.20.0.10/32", "10.20.5.10/32")
    try:
        for route in injected:
            laptop.host.ip("route", "add", route, "via", GATEWAY)
        leaks_without_protection(wire, sender, "office", WIKI)
        reached(laptop)
        before = wire.seen()["office"]
        sender.send(WIKI)
        laptop.arrives()
        assert wire.seen()["office"] == before, "they went through the tunnel"
    finally:
        for route in injected:
            laptop.host.ip("route", "del", route, "via", GATEWAY)


def test_a_local_network_with_the_offices_addresses_gets_nothing(laptop: Laptop, wire: Wire, sender: Sender) -> None:
    """TunnelCrack LocalNet (CVE-2023-36672): the attacker's network claims the addresses of the victim's servers."""
    laptop.host.ip("address", "add", "10.20.0.7/24", "dev", INTERNET_WIRE)
    laptop.stage.network.gateway.ip("address", "add", "10.20.0.1/24", "dev", INTERNET_WIRE)
    laptop.host.ip("neigh", "replace", WIKI, "lladdr", hardware(laptop.stage.network.gateway), "dev", INTERNET_WIRE)
    try:
        leaks_without_protection(wire, sender, "office", WIKI)
        reached(laptop)
        before = wire.seen()["office"]
        sender.send(WIKI)
        laptop.arrives()
        assert wire.seen()["office"] == before
    finally:
        laptop.host.ip("address", "del", "10.20.0.7/24", "dev", INTERNET_WIRE)
        laptop.stage.network.gateway.ip("address", "del", "10.20.0.1/24", "dev", INTERNET_WIRE)


def hardware(host: Host) -> str:
    listed = json.loads(host.ip("-j", "link", "show", INTERNET_WIRE))
    return str(listed[0]["address"])


def test_a_gateway_address_that_is_a_servers_opens_nothing(laptop: Laptop, wire: Wire, sender: Sender) -> None:
    """TunnelCrack ServerIP (CVE-2023-36673): the endpoint is spoofed to be the address of a protected server.

    Other clients add a route around the tunnel for that address, and everything to it follows.
    """
    agent = reached(laptop)
    agent.signal(signal.SIGSTOP)
    subprocess.run(
        laptop.host.command("wg", "set", laptop.interface, "peer", peer(laptop), "endpoint", f"{WIKI}:51820"),
        check=True,
    )
    before = wire.seen()["office"]
    sender.send(WIKI, 80)
    sender.send(WIKI, 51820, packets=10 * TRAIN)
    assert wire.seen()["office"] - before <= clear_of_the_tunnel(laptop), "only sealed datagrams leave for that address"
    agent.signal(signal.SIGCONT)


def peer(laptop: Laptop) -> str:
    return laptop.host.run("wg", "show", laptop.interface, "peers").split()[0]


def clear_of_the_tunnel(laptop: Laptop) -> int:
    """Datagrams that the tunnel itself has sent to its endpoint: they are sealed."""
    fields = laptop.host.run("wg", "show", laptop.interface, "dump").splitlines()[1].split("\t")
    return int(fields[6]) // SIZE


def test_ipv6_and_dns_do_not_leak_beside_the_tunnel(laptop: Laptop, wire: Wire, sender: Sender) -> None:
    for kind, address, port in (("v6", V6_OFFICE, 9), ("dns", RESOLVER, 53), ("dns", RESOLVER, 853)):
        leaks_without_protection(wire, sender, kind, address, port)
    remembered(laptop, prefixes=["0.0.0.0/0", "::/0"], every_name=True)
    laptop.stage.gateway.signal(signal.SIGSTOP)
    try:
        laptop.run()
        eventually(lambda: "sallyport-agent" in tables(laptop.host), "the protection")
        before = wire.seen()
        sender.send(V6_OFFICE)
        sender.send(RESOLVER, 53, packets=MANY // 2)
        sender.send(RESOLVER, 853, packets=MANY // 2)
        sender.send(WIKI)
        assert wire.seen() == before
    finally:
        laptop.stage.gateway.signal(signal.SIGCONT)


def remembered(laptop: Laptop, **differences: object) -> None:
    """What an agent has written down before: the state that a restart finds."""
    footprint = {"interface": laptop.interface, "prefixes": [], "addresses": [], "every_name": False, "backend": None}
    Path(laptop.settings["SALLYPORT_AGENT_STATE_DIR"], "footprint.json").write_text(json.dumps(footprint | differences))


def test_kill_crash_and_restart_leave_no_gap(laptop: Laptop, wire: Wire, sender: Sender) -> None:
    """The tunnel killed, the agent killed with -9, the ruleset flushed, the agent started again, and packets all the time."""
    leaks_without_protection(wire, sender, "office", WIKI)
    agent = reached(laptop, "--backend", "sallyport-tunnel")
    before = wire.seen()["office"]
    children = subprocess.run(
        ["ps", "--ppid", str(agent.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    for pid in children.stdout.split():
        subprocess.run(["kill", "-9", pid], check=False)
    sender.send(WIKI, packets=MANY // 4)
    agent.wait_for("the tunnel is gone", timeout=60)
    laptop.arrives()
    agent.kill()
    sender.send(WIKI, packets=MANY // 4)
    agent.end()
    eventually(laptop.clean, "the end of the interface")
    assert "sallyport-agent" in tables(laptop.host), "kill -9 leaves the office closed"
    laptop.host.run("nft", "flush", "ruleset")
    laptop.stage.firewall.load()
    sender.send(WIKI, packets=MANY // 4)
    again = laptop.run()
    sender.send(WIKI, packets=MANY // 4)
    again.wait_for("^tier full", timeout=60)
    laptop.arrives()
    assert wire.seen()["office"] == before
    assert sender.tried > MANY


def test_a_flushed_ruleset_is_mended_and_said(laptop: Laptop) -> None:
    agent = reached(laptop)
    mark = agent.mark()
    laptop.host.run("nft", "flush", "ruleset")
    try:
        agent.wait_for("the leak protection was removed: it is back", timeout=60, after=mark)
        assert "sallyport-agent" in tables(laptop.host)
    finally:
        laptop.stage.firewall.load()


def test_while_a_login_is_needed_the_office_is_closed_and_the_rest_is_open(
    laptop: Laptop, wire: Wire, sender: Sender
) -> None:
    """A session that the gateway has ended: the tunnel is gone, its prefixes are not reached another way."""
    agent = reached(laptop)
    session = laptop.status()["verdict"]["session"]
    administrator = Administrator(laptop.stage.network.gateway, URL, laptop.stage.authority, "carol")
    administrator.kill(session, "a test")
    administrator.close()
    agent.wait_for("^login-required", timeout=60)
    eventually(laptop.clean, "the end of the interface")
    before = wire.seen()
    sender.send(WIKI)
    assert wire.seen()["office"] == before["office"]
    leaks_without_protection(
        wire, sender, "dns", RESOLVER, 53
    )  # no leak: nobody has said that names belong to the office
    agent.end()
    laptop.log_in()


@pytest.mark.parametrize("end", ["term", "kill"])
def test_every_way_out_puts_the_machine_back(laptop: Laptop, end: str) -> None:
    known = (tables(laptop.host), rules(laptop.host))
    agent = reached(laptop)
    assert (tables(laptop.host), rules(laptop.host)) != known
    refused = laptop.call("down")
    assert refused.returncode == 1
    assert "stop it first" in refused.stderr
    if end == "term":
        agent.end()
    else:
        agent.kill()
        agent.end()
        eventually(laptop.clean, "the end of the interface")
        assert tables(laptop.host) != known[0]
        done = laptop.call("down")
        assert done.returncode == 0, done
    assert (tables(laptop.host), rules(laptop.host)) == known
    assert laptop.host.ip("route", "show", "table", "all").count("23057") == 0
