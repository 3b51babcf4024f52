"""Each part of the demo by itself, on real hosts with a plain router in the place of the tunnel."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo import measurements, namespaces, network
from gateway.demo.forwarder import Forwarder
from gateway.demo.measurements import Window
from gateway.demo.network import PAYROLL, SERVERS, Network
from gateway.demo.protection import EICAR, Firewall, start_antivirus
from gateway.demo.traffic import Flow, Probes, read_page
from gateway.demo.witness import Witness
from gateway.programs import Program
from tests.sim.hosts import namespace_names, routed


@pytest.fixture(scope="module")
def hosts() -> Iterator[Network]:
    with routed("parts") as built:
        servers = [f"{name}={address}" for name, address in SERVERS.items()]
        office = Program(
            "office", [sys.executable, "-m", "gateway.demo.office", *servers], within=built.office.command()
        )
        try:
            office.wait_for("office open", timeout=10)
            yield built
        finally:
            office.end()


@contextlib.contextmanager
def watched(built: Network) -> Iterator[tuple[Witness, Witness]]:
    laptop, office = (Witness(host, keep=lambda _: True) for host in (built.laptop, built.office))
    try:
        yield laptop, office
    finally:
        laptop.close()
        office.close()


def has_ended(pid: int, *, within: float = 5.0) -> bool:
    """Whether a process is gone, or waits only for somebody to collect its status, before `within` seconds pass."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_every_server_shows_its_page(hosts: Network) -> None:
    for name, address in SERVERS.items():
        assert name in read_page(hosts.laptop, address).lower()


def test_the_witness_counts_every_probe_and_dates_it_with_the_same_clock(hosts: Network) -> None:
    before = time.time()
    with watched(hosts) as (laptop, office):
        probes = Probes(hosts.laptop, SERVERS)
        time.sleep(1.0)
        probes.close()
        time.sleep(0.2)
        sent = [packet for packet in laptop.seen() if packet.leaving]
        arrived = [packet for packet in office.seen() if not packet.leaving]
    found = measurements.counts(sent, arrived, SERVERS, Window(before, time.time()))
    assert all(count.passes and count.sent >= 100 for count in found.values()), found
    assert all(before <= at <= time.time() for at, _ in measurements.probes_to(arrived, PAYROLL))


def test_the_witness_sees_a_cut_and_when_the_last_packet_of_an_established_flow_passed(hosts: Network) -> None:
    with watched(hosts) as (laptop, office):
        flow = Flow(hosts.laptop, PAYROLL)
        time.sleep(0.5)
        cut = time.time()
        hosts.gateway.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
        time.sleep(0.5)
        hosts.gateway.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        flow.close()
        passed = [p for w in (laptop, office) for p in measurements.flow(w.seen(), PAYROLL, flow.port)]
    last = measurements.last(passed, before=cut + 0.5)
    assert last is not None
    assert 0 < measurements.milliseconds(cut, last) + 20 < 300
    assert {p.destination == PAYROLL for p in passed} == {True, False}  # data both ways


def test_the_firewall_drops_what_nobody_asked_for_until_it_is_flushed(hosts: Network, tmp_path: Path) -> None:
    firewall = Firewall(hosts.laptop, tmp_path)
    with hosts.laptop.entered():
        listener = socket.create_server((network.LAPTOP, 8000))
    with listener:
        firewall.load()
        with hosts.office.entered(), pytest.raises(TimeoutError):
            socket.create_connection((network.LAPTOP, 8000), timeout=0.3)
        assert "wiki" in read_page(hosts.laptop, SERVERS["wiki"])
        firewall.flush()
        with hosts.office.entered():
            socket.create_connection((network.LAPTOP, 8000), timeout=2.0).close()


def test_the_antivirus_is_a_real_one_that_finds_the_test_file(hosts: Network, tmp_path: Path) -> None:
    clamd, path = start_antivirus(hosts.laptop, tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"zINSTREAM\0" + len(EICAR).to_bytes(4, "big") + EICAR + bytes(4))
            assert b"FOUND" in client.recv(200)
    finally:
        clamd.end()


def test_the_forwarder_reaches_the_other_hosts_loopback_and_only_through_its_port(hosts: Network) -> None:
    with hosts.gateway.entered():
        server = socketserver.TCPServer(("127.0.0.1", 9400), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    forwarder = Forwarder(hosts.laptop, hosts.gateway, 9400)
    try:
        with hosts.laptop.entered(), socket.create_connection(("127.0.0.1", 9400), timeout=5) as client:
            client.sendall(b"HEAD /nothing HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 404")
        with hosts.laptop.entered(), pytest.raises(OSError):
            socket.create_connection((network.GATEWAY, 9400), timeout=1)
    finally:
        forwarder.close()
        server.shutdown()
        server.server_close()


def test_the_namespaces_of_a_killed_run_are_removed_and_those_of_a_living_one_are_not() -> None:
    script = (
        "import os, subprocess, sys; from gateway.demo import namespaces, network\n"
        "with network.built(namespaces.owner_mark()) as n:\n"
        "    s = subprocess.Popen(n.laptop.command('sleep', '600'))\n"
        "    print(namespaces.owner_mark(), s.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        mark, sleeper = run.stdout.readline().decode().split()
        namespaces.remove_orphans()
        assert f"{mark}-laptop" in namespace_names()
        run.kill()
    assert {f"{mark}-{role}" for role in ("laptop", "gateway", "office")} <= set(namespaces.remove_orphans())
    assert not [name for name in namespace_names() if name.startswith(mark)]
    assert has_ended(int(sleeper))


def test_a_child_dies_with_its_parent_even_when_that_is_killed() -> None:
    script = (
        "from gateway.programs import Program; p = Program('sleeper', ['sleep', '600'])\n"
        "print(p.pid, flush=True); p.wait_for('never', timeout=60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not has_ended(child, within=0.3)
        parent.kill()
    assert has_ended(child)
