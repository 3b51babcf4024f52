"""The stage: three hosts with the real programs in them, what they send, and the witnesses who see what arrives."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.cli.serve import demo_policy
from gateway.cli.up import check_tun
from gateway.demo import measurements, namespaces, network
from gateway.demo.employee import Employee
from gateway.demo.forwarder import Forwarder
from gateway.demo.measurements import Count, Window
from gateway.demo.network import SERVERS, Network
from gateway.demo.protection import Firewall, start_antivirus
from gateway.demo.records import ECHO_PORT, RECORDS_PORT
from gateway.demo.witness import Packet, Witness
from gateway.errors import HostError
from gateway.programs import Program
from gateway.settings import without_settings

PORT: Final = 8443
TUNNEL_PORT: Final = 51820
PROVIDER_PORT: Final = 9400
URL: Final = f"https://{network.GATEWAY}:{PORT}"
READY_WITHIN: Final = 30.0
SOCKETS: Final = Path("/var/run/wireguard")
IN_FLIGHT: Final = 0.25
"""Seconds that a probe may be under way on a busy machine before it counts as lost."""


@dataclass(slots=True)
class Stage:
    """Everything that the six steps act on."""

    network: Network
    folder: Path
    authority: Path
    employee: Employee
    firewall: Firewall
    antivirus: Program
    gateway: Program
    laptop_witness: Witness
    office_witness: Witness

    def sent(self, since: float = 0.0) -> list[Packet]:
        """What the laptop sent."""
        return [packet for packet in self.laptop_witness.seen(since) if packet.leaving]

    def arrived(self, since: float = 0.0) -> list[Packet]:
        """What arrived in the office."""
        return [packet for packet in self.office_witness.seen(since) if not packet.leaving]

    def flow(self, port: int, since: float = 0.0) -> list[Packet]:
        """The data packets of one TCP flow that arrived, at either end."""
        seen = self.laptop_witness.seen(since) + self.office_witness.seen(since)
        return measurements.flow(seen, network.PAYROLL, port)

    def reach(self, seconds: float = 1.0) -> dict[str, Count]:
        """Watch the probes for a while: how many were sent to each server from now on, and how many arrived."""
        start = time.time()
        time.sleep(seconds + IN_FLIGHT)
        window = Window(start, start + seconds)
        return measurements.counts(self.sent(start), self.arrived(start), SERVERS, window)

    def first_probe(self, server: str, *, after: float, within: float) -> float:
        """Wait for a probe that was sent after a moment to arrive. Gives the time of its arrival.

        Raises HostError when none does.
        """

        def found() -> float | None:
            numbers = {number for _, number in measurements.probes_to(self.sent(after), server)}
            arrivals = measurements.probes_to(self.arrived(after), server)
            return min((at for at, number in arrivals if number in numbers), default=None)

        return wait_for(found, within=within, what=f"a probe at {server}")


def wait_for(look: Callable[[], float | None], *, within: float, what: str) -> float:
    """Look until there is something to see. Raises HostError after `within` seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.01)
    raise HostError(f"waited {within:.0f} s in vain for {what}")


def check_machine() -> None:
    """Raise HostError with one clear line for the first thing that the machine lacks."""
    if os.geteuid() != 0:
        raise HostError("network namespaces are needed: run this as root")
    check_tun()


def sweep() -> list[str]:
    """Remove what earlier runs left that were killed before they could: namespaces, folders, sockets. Gives the names."""
    removed = namespaces.remove_orphans()
    for folder in Path(tempfile.gettempdir()).glob(f"{namespaces.PREFIX}-*"):
        if namespaces.is_orphan(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(str(folder))
    for path in SOCKETS.glob("sp*.sock"):
        owner = re.fullmatch(r"sp(\d+)[ag]\.sock", path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            path.unlink(missing_ok=True)
            removed.append(str(path))
    return removed


@contextlib.contextmanager
def built(note: Callable[[str], None], settings: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """The stage for the length of the `with`. Everything on it has ended and is removed afterwards.

    `settings` are the gateway's, beside those that the stage needs.
    """
    check_machine()
    for name in sweep():
        note(f"removed {name}, left behind by a run that was killed")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{namespaces.owner_mark()}-")))
        hosts = stack.enter_context(network.built(namespaces.owner_mark()))
        yield _furnished(stack, hosts, folder, note, settings or {})


def _furnished(
    stack: contextlib.ExitStack, hosts: Network, folder: Path, note: Callable[[str], None], settings: Mapping[str, str]
) -> Stage:
    office = Program("office", _office_command(), within=hosts.office.command())
    stack.callback(office.end)
    office.wait_for("office open", timeout=READY_WITHIN)
    firewall = Firewall(hosts.laptop, folder)
    firewall.load()
    antivirus, clamd_socket = start_antivirus(hosts.laptop, folder)
    stack.callback(antivirus.end)
    note("office open, laptop protected by nftables and clamd")

    gateway = _gateway(stack, hosts, folder, firewall, settings)
    note(f"sallyport up on the gateway host: {URL}")
    forwarder = Forwarder(hosts.laptop, hosts.gateway, PROVIDER_PORT)
    stack.callback(forwarder.close)
    state = {
        "SALLYPORT_AGENT_STATE_DIR": str(folder / "agent"),
        "SALLYPORT_AGENT_CLAMD_SOCKET": str(clamd_socket),
    }
    employee = Employee(hosts.laptop, _interface(stack, "a"), state)
    stack.callback(employee.stop_agent)
    return Stage(
        network=hosts,
        folder=folder,
        authority=folder / "gateway" / "ca.crt",
        employee=employee,
        firewall=firewall,
        antivirus=antivirus,
        gateway=gateway,
        laptop_witness=_witness(stack, hosts.laptop),
        office_witness=_witness(stack, hosts.office),
    )


def _office_command() -> list[str]:
    servers = [f"{name}={address}" for name, address in SERVERS.items()]
    return [sys.executable, "-m", "gateway.demo.office", *servers]


def _gateway(
    stack: contextlib.ExitStack, hosts: Network, folder: Path, firewall: Firewall, more: Mapping[str, str]
) -> Program:
    settings = {
        **more,
        "SALLYPORT_PUBLIC_URL": URL,
        "SALLYPORT_LISTEN": f"{network.GATEWAY}:{PORT}",
        "SALLYPORT_STATE_DIR": str(folder / "gateway"),
        "SALLYPORT_POLICY_DIR": str(_policy(folder, firewall)),
        "SALLYPORT_TUNNEL_INTERFACE": _interface(stack, "g"),
        "SALLYPORT_TUNNEL_ENDPOINT": f"{network.GATEWAY}:{TUNNEL_PORT}",
        "SALLYPORT_DEVELOPMENT_PROVIDER": f"127.0.0.1:{PROVIDER_PORT}",
    }
    command = [sys.executable, "-m", "gateway", "up"]
    gateway = Program(
        "up",
        command,
        environment=settings,
        inherited=without_settings(),
        within=hosts.gateway.command(),
        orphaned=signal.SIGTERM,
    )
    stack.callback(gateway.end)
    gateway.wait_for("^ready:", timeout=READY_WITHIN)
    return gateway


def _policy(folder: Path, firewall: Firewall) -> Path:
    """The shipped demo policy, with the fix for the firewall that is right on this laptop."""
    shipped = (demo_policy() / "demo.yaml").read_text()
    written = "sudo ufw enable"
    if written not in shipped:
        raise HostError(f"policies/demo/demo.yaml: the fix of firewall-on is not {written!r} any more")
    own = folder / "policy"
    own.mkdir()
    (own / "demo.yaml").write_text(shipped.replace(written, f"nft -f {firewall.rules}"))
    return own


def _interface(stack: contextlib.ExitStack, end: str) -> str:
    """A name that no other run has: UAPI sockets lie in one folder for all namespaces of a machine."""
    name = f"sp{os.getpid()}{end}"
    stack.callback((SOCKETS / f"{name}.sock").unlink, missing_ok=True)
    return name


def _witness(stack: contextlib.ExitStack, host: namespaces.Host) -> Witness:
    witness = Witness(host, keep=_of_interest)
    stack.callback(witness.close)
    return witness


def _of_interest(packet: Packet) -> bool:
    """Probes, the long flow, and handshake messages of the tunnel itself."""
    ports = {packet.source_port, packet.destination_port}
    if packet.protocol == socket.IPPROTO_TCP:
        return RECORDS_PORT in ports
    return ECHO_PORT in ports or (TUNNEL_PORT in ports and packet.payload[:1] in (b"\1", b"\2", b"\3"))
