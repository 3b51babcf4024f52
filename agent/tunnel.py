"""Our end of WireGuard: brought up from a TunnelConfig, taken down again. What protects it is the footprint's.

The kernel's WireGuard where it is present, else `sallyport-tunnel`, else wireguard-go. Knows no session and no policy.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent import host, uapi
from agent.errors import AgentError
from agent.footprint import Footprint
from agent.guard import INTERFACE_NAME, MARK
from agent.wire import TunnelConfig

BACKENDS: Final = ("kernel", "sallyport-tunnel", "wireguard-go")
INTERFACE: Final = "sallyport"
DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "TERM", "--")
"""A killed agent leaves no tunnel behind (util-linux; the program keeps its process id)."""
START_WITHIN: Final = 10.0


class Backend(Protocol):
    """A WireGuard implementation that makes an interface."""

    name: str

    def start(self, interface: str) -> None:
        """Make the interface. Raises AgentError."""

    def configure(self, interface: str, private_key: bytes, config: TunnelConfig, endpoint: str) -> None:
        """Give it keys and peer. Raises AgentError."""

    def peer(self, interface: str) -> uapi.PeerState | None:
        """What it says about the peer."""

    def stop(self) -> None:
        """Remove the interface that it made."""


class Kernel:
    """The kernel's module, configured by wg(8)."""

    name = "kernel"

    def start(self, interface: str) -> None:
        if shutil.which("wg") is None:
            raise AgentError("the kernel's WireGuard needs wg(8): install wireguard-tools")
        host.run("ip", "link", "add", interface, "type", "wireguard")
        self._interface = interface

    def configure(self, interface: str, private_key: bytes, config: TunnelConfig, endpoint: str) -> None:
        peer = ["peer", config.public_key, "endpoint", endpoint, "allowed-ips", ",".join(config.routes)]
        ours = ["fwmark", hex(MARK), "private-key", "/dev/stdin"]
        keepalive = ["persistent-keepalive", str(config.keepalive)]
        host.run("wg", "set", interface, *ours, *peer, *keepalive, text=base64.b64encode(private_key).decode())

    def peer(self, interface: str) -> uapi.PeerState | None:
        try:
            done = subprocess.run(["wg", "show", interface, "dump"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return parse_dump(done.stdout)

    def stop(self) -> None:
        with contextlib.suppress(AgentError):
            host.run("ip", "link", "delete", self._interface)


class Userspace:
    """A program that serves an interface in the foreground and is configured over UAPI."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, interface: str) -> None:
        if _answers(interface):
            raise AgentError(f"another program serves {interface} already: end it, or choose another --interface")
        log = {**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
        self._process = subprocess.Popen(
            [*DIES_WITH_US, *self._command, "-f", interface], stdin=subprocess.DEVNULL, env=log, start_new_session=True
        )
        deadline = time.monotonic() + START_WITHIN
        while not _answers(interface):
            if self._process.poll() is not None:
                raise AgentError(f"{self.name} ended with status {self._process.returncode}: see its line above")
            if time.monotonic() > deadline:
                self.stop()
                raise AgentError(f"{self.name} made no interface within {START_WITHIN:.0f} s")
            time.sleep(0.01)

    def configure(self, interface: str, private_key: bytes, config: TunnelConfig, endpoint: str) -> None:
        uapi.ask(interface, uapi.configuration(private_key, config, endpoint, fwmark=MARK))

    def peer(self, interface: str) -> uapi.PeerState | None:
        return uapi.peer_state(uapi.ask(interface, "get=1\n\n"))

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Tunnel:
    """One interface, up from `up` to `down`. The private key lives in memory and nowhere else."""

    def __init__(self, interface: str, backend: str | None, footprint: Footprint) -> None:
        """`backend` is one of BACKENDS, None takes the first that works."""
        if not INTERFACE_NAME.fullmatch(interface):
            raise AgentError(f"--interface {interface!r} must be 1 to 15 letters, digits, dots, _ or -")
        self.interface = interface
        self.footprint = footprint
        self._choices = backends() if backend is None else [b for b in backends() if b.name == backend]
        if not self._choices:
            raise AgentError(f"{backend or 'no WireGuard'} is not installed; install one of {', '.join(BACKENDS)}")
        self._backend: Backend | None = None
        self.routes: tuple[str, ...] = ()
        """What is sent into the tunnel now."""
        self.dns: tuple[str, ...] = ()
        self._private_key = X25519PrivateKey.generate()
        self._config: TunnelConfig | None = None
        self._endpoint = ""

    @property
    def backend(self) -> str | None:
        """The name of the backend in use."""
        return self._backend.name if self._backend else None

    def new_key(self) -> bytes:
        """Make a fresh key for the next credential. Gives the public half: 32 bytes."""
        self._private_key = X25519PrivateKey.generate()
        return self._private_key.public_key().public_bytes_raw()

    def up(self, config: TunnelConfig) -> None:
        """Bring the interface up, or give the one that is up new keys.

        Raises AgentError, and then there is no interface; what belongs into the tunnel is blocked.
        """
        endpoint = _resolved(config.endpoint)
        try:
            self.footprint.enter(config, self.interface)
            if self._backend is None:
                self._backend = self._started()
            self._backend.configure(self.interface, self._private_key.private_bytes_raw(), config, endpoint)
            self._address(config)
            self.footprint.route(config, self.interface, self._backend.name)
            self.routes, self.dns = config.routes, config.dns
            self._config, self._endpoint = config, endpoint
        except BaseException:
            self.down()
            raise

    def _started(self) -> Backend:
        refusals = []
        for choice in self._choices:
            try:
                choice.start(self.interface)
            except (AgentError, OSError) as error:
                refusals.append(f"{choice.name}: {error}")
            else:
                return choice
        raise AgentError("no tunnel could be made: " + "; ".join(refusals))

    def _address(self, config: TunnelConfig) -> None:
        host.run("ip", "address", "flush", "dev", self.interface, "scope", "global")
        for address in config.addresses:
            host.run("ip", "address", "replace", address, "dev", self.interface)
        host.run("ip", "link", "set", self.interface, "mtu", str(config.mtu), "up")

    def peer(self) -> uapi.PeerState | None:
        """What the tunnel says about the gateway; None when there is no tunnel."""
        if self._backend is None:
            return None
        try:
            return self._backend.peer(self.interface)
        except AgentError:
            return None

    def lost(self) -> bool:
        """Whether the interface that was brought up is gone: its program has died, or somebody removed it."""
        if self._backend is None:
            return False
        try:
            socket.if_nametoindex(self.interface)
        except OSError:
            return True
        return False

    def roam(self) -> bool:
        """After a change of the network: send to the gateway's other address where this one cannot be reached any more.

        WireGuard itself follows a change of our own address. Says whether the gateway's is another one now.
        """
        if self._backend is None or self._config is None:
            return False
        try:
            endpoint = _resolved(self._config.endpoint)
            if endpoint == self._endpoint:
                return False
            key = self._private_key.private_bytes_raw()
            self._backend.configure(self.interface, key, self._config, endpoint)
        except AgentError:
            return False  # no network at the moment: the next change asks again
        self._endpoint = endpoint
        return True

    def recover(self) -> None:
        """Protect what an earlier agent protected."""
        self.footprint.recover(self.interface)

    def down(self, *, for_a_person: bool = False) -> None:
        """Remove the interface; its addresses and routes go with it. What belongs into the tunnel is blocked."""
        self._stop()
        self.footprint.leave(for_a_person=for_a_person)

    def end(self) -> None:
        """Remove the interface and leave the machine as it was before. Raises AgentError."""
        self._stop()
        self.footprint.clear()

    def _stop(self) -> None:
        if self._backend is not None:
            self._backend.stop()
            self._backend = None
        self.routes = self.dns = ()


def backends() -> list[Backend]:
    """The implementations that are installed, best first."""
    found: list[Backend] = [Kernel()]
    beside = Path(sys.executable).with_name("sallyport-tunnel")
    ours = str(beside) if beside.exists() else shutil.which("sallyport-tunnel")
    for name, path in (("sallyport-tunnel", ours), ("wireguard-go", shutil.which("wireguard-go"))):
        if path is not None:
            found.append(Userspace(name, [path]))
    return found


def parse_dump(text: str) -> uapi.PeerState | None:
    """Read the first peer of `wg show IFNAME dump` (wg(8)); None when there is none."""
    for line in text.splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) == 8 and all(number.isdecimal() for number in fields[4:7]):
            return uapi.PeerState(int(fields[4]), int(fields[5]), int(fields[6]))
    return None


def _answers(interface: str) -> bool:
    try:
        uapi.ask(interface, "get=1\n\n")
    except AgentError:
        return False
    return True


def _resolved(endpoint: str) -> str:
    """The endpoint with a numeric address: UAPI knows no names. Raises AgentError."""
    host, _, port = endpoint.rpartition(":")
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), int(port), type=socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:
        raise AgentError(f"the tunnel's endpoint {endpoint} cannot be found ({error})") from None
    address = str(found[0][4][0])
    return f"[{address}]:{port}" if ip_address(address.partition("%")[0]).version == 6 else f"{address}:{port}"
