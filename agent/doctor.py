"""`sallyport-agent doctor`: what this machine needs for a tunnel, looked at one by one, each with what to do next."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import json
import os
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agent import guard, host, https
from agent.addresses import Addresses
from agent.errors import AgentError
from agent.pulse import beats
from agent.state import State
from agent.status import TUNNELLED
from agent.tunnel import backends

SKEW: Final = 30.0
"""Seconds; the gateway refuses what is signed 60 s away from its clock."""
ANSWER_WITHIN: Final = 10.0
LARGEST: Final = 1 << 16
SILENT_AFTER: Final = 10.0
OUTSIDE: Final = 80
"""Bytes that WireGuard adds at most: IPv6 40, UDP 8, its own 32."""
NAME_SERVER_PATIENCE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was looked at. `fix` is what to do next; None when it is in order."""

    what: str
    said: str
    fix: str | None = None

    @property
    def right(self) -> bool:
        return self.fix is None

    def line(self) -> str:
        return f"{'ok  ' if self.right else 'FAIL'} {self.what}: {self.said}"


def examine(state: State) -> Iterator[Seen]:
    """Look at everything, from the machine itself outwards."""
    yield permissions()
    yield tun()
    yield programs()
    yield wireguard()
    try:
        gateway = state.enrolment().gateway
    except AgentError as error:
        yield Seen("enrolment", str(error), "sallyport-agent enrol URL")
        return
    yield Seen("enrolment", gateway)
    answer = yield from reach(gateway, state)
    if answer is not None:
        yield clock(answer.date, now=time.time())
        yield provider(answer.ready)
    yield from running(state.status())


def running(status: Mapping[str, Any] | None) -> Iterator[Seen]:
    """What only a running agent has."""
    if status is None:
        yield Seen("agent", "not running", "systemctl start sallyport-agent, or sallyport-agent run as root")
        return
    yield Seen("agent", f"{status.get('state')}, process {status.get('pid')}")
    yield watchers(status.get("unwatched") or [])
    yield protection(status)
    yield overlap(status.get("protected") or [], local_networks())
    yield packets(status, now=time.time())
    for server in status.get("dns") or ():
        yield name_server(str(server))
    yield mtu(str(status.get("interface")))


def permissions() -> Seen:
    """Routes and rules need root."""
    if os.geteuid() == 0:
        return Seen("permissions", "root")
    return Seen("permissions", f"user {os.geteuid()}: some of this cannot be looked at", "run it as root")


def tun(path: Path = Path("/dev/net/tun")) -> Seen:
    """The device that every userspace WireGuard needs."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        fix = "modprobe tun" if error.errno == errno.ENOENT else "run this as root; in a container, give it the device"
        return Seen("tun", f"{path}: {error.strerror}", fix)
    return Seen("tun", f"{path} can be opened")


def programs(find: Callable[[str], str | None] = shutil.which) -> Seen:
    """What changes routes and rules."""
    missing = [name for name in ("ip", "nft", "setpriv") if find(name) is None]
    if missing:
        packages = " ".join(host.PACKAGES.get(name, "util-linux") for name in missing)
        return Seen("programs", f"missing: {', '.join(missing)}", f"apt install {packages}")
    return Seen("programs", "ip, nft, setpriv")


def wireguard() -> Seen:
    """Which WireGuard would be used."""
    names = [backend.name for backend in backends()]
    kernel = Path("/sys/module/wireguard").exists()
    usable = [name for name in names if name != "kernel" or (kernel and shutil.which("wg"))]
    if not usable:
        return Seen("wireguard", "none is installed", "install sallyport-tunnel or wireguard-go, or modprobe wireguard")
    return Seen("wireguard", ", ".join(usable))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to /readyz."""

    date: str | None
    ready: Mapping[str, Any]


def reach(gateway: str, state: State) -> Generator[Seen, None, Answer | None]:
    """Name, then connection, then certificate. Returns the answer, or None."""
    parts = urlsplit(gateway)
    name = str(parts.hostname)
    try:
        found = socket.getaddrinfo(name, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Seen("dns", f"{name}: {error}", "look at the network's DNS: resolvectl status, or /etc/resolv.conf")
        return None
    yield Seen("dns", f"{name} is {', '.join(sorted({str(address[0]) for *_, address in found}))}")
    authority = state.authority()
    try:
        trust = https.trusting(str(authority) if authority else None)
        connection = https.Connection(gateway, trust, mark=guard.MARK, find=Addresses(None).find)
        with (
            contextlib.closing(connection),
            connection.ask("GET", "/readyz", headers={}, within=ANSWER_WITHIN) as answer,
        ):
            body = answer.read(LARGEST)
            yield Seen("gateway", f"answers with {answer.status}")
            return Answer(answer.headers.get("date"), _members(body))
    except ssl.SSLCertVerificationError as error:
        fix = (
            "a captive portal or a proxy is in between, or the gateway has another authority now: enrol again with --ca"
        )
        yield Seen("gateway", f"its certificate is not trusted ({error.verify_message})", fix)
    except Exception as error:
        fix = "is the network up, and does a firewall let TCP to it pass? try another network"
        yield Seen("gateway", f"cannot be reached ({str(error) or type(error).__name__})", fix)
    return None


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def clock(date: str | None, *, now: float) -> Seen:
    """The gateway's clock against ours."""
    try:
        theirs = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return Seen("clock", "the gateway does not say what time it is", "compare the clock with another: timedatectl")
    if abs(now - theirs) > SKEW:
        return Seen("clock", f"{now - theirs:+.0f} s from the gateway's", "timedatectl set-ntp true")
    return Seen("clock", "agrees with the gateway's")


def provider(ready: Mapping[str, Any]) -> Seen:
    """Whether people could log in: the gateway looks at that itself."""
    checks = ready.get("checks")
    wrong = (
        sorted(str(name) for name, right in checks.items() if right is not True) if isinstance(checks, dict) else None
    )
    if wrong is None:
        return Seen("provider", "the gateway does not say", "ask its administrators")
    if wrong:
        return Seen(
            "provider", f"the gateway lacks: {', '.join(wrong)}", "tell its administrators; nothing here can help"
        )
    return Seen("provider", "the gateway reaches it, and its own parts are whole")


def watchers(missing: Sequence[str]) -> Seen:
    """What is polled because it cannot be watched."""
    if missing:
        return Seen(
            "watchers", f"polled in place of watched: {'; '.join(missing)}", "changes are seen at the next heartbeat"
        )
    return Seen("watchers", "all work")


def protection(status: Mapping[str, Any]) -> Seen:
    """Whether what belongs into the tunnel is kept from leaking."""
    if lacking := status.get("shortcomings"):
        return Seen("protection", "; ".join(map(str, lacking)), "install what is missing and restart the agent")
    if not status.get("protected"):
        return Seen("protection", "nothing is to be protected yet")
    leaks = guard.leaks() if os.geteuid() == 0 else None
    return Seen("protection", "stands" if leaks is None else f"stands; {leaks} packets were kept from leaking")


def overlap(prefixes: Sequence[str], local: Sequence[str]) -> Seen:
    """A network here with the office's addresses: what is meant for it goes into the tunnel."""
    for prefix in prefixes:
        one = ip_network(prefix)
        for address in local:
            other = ip_interface(address).network
            if one.prefixlen and one.version == other.version and one.overlaps(other):
                said = f"this network ({other}) uses addresses of the office ({prefix}); the office wins"
                return Seen("network", said, "use another network, or give this one other addresses")
    return Seen("network", "no local network has the office's addresses")


def local_networks() -> list[str]:
    """The addresses of this machine's interfaces, except those of a tunnel."""
    try:
        listed = json.loads(host.run("ip", "-json", "address"))
        return [
            f"{address['local']}/{address['prefixlen']}"
            for link in listed
            if link.get("link_type") == "ether"
            for address in link.get("addr_info", ())
            if address.get("scope") == "global"
        ]
    except (AgentError, ValueError, KeyError, TypeError):
        return []


def packets(status: Mapping[str, Any], *, now: float) -> Seen:
    """Whether the tunnel carries anything, and if not, whether UDP gets through at all."""
    if status.get("state") not in TUNNELLED:
        return Seen("packets", "there is no tunnel now", "sallyport-agent status says why")
    interface, routes = str(status.get("interface")), [str(route) for route in status.get("routes") or ()]
    beat = beats(interface, routes)
    if beat is not None:
        return Seen("packets", f"one came back after {beat * 1000:.0f} ms")
    if not status.get("handshake_at") and now - float(status["since"]) > SILENT_AFTER:
        fix = "this network blocks UDP, or a firewall does: try another one"
        return Seen("packets", "the gateway's tunnel has never answered", fix)
    return Seen(
        "packets", "none came back within 2 s", "wait half a minute; then restart the agent, or try another network"
    )


def mtu(interface: str) -> Seen:
    """Whether a full packet of the tunnel fits through the way to the gateway, as far as this machine knows it."""
    inner = _mtu_of(interface)
    outer = min((size for name in _others(interface) if (size := _mtu_of(name))), default=None)
    if inner is None or outer is None:
        return Seen("mtu", "there is no tunnel to compare")
    if inner + OUTSIDE > outer:
        return Seen(
            "mtu", f"tunnel {inner} + {OUTSIDE} > network {outer}", "set SALLYPORT_TUNNEL_MTU on the gateway lower"
        )
    return Seen("mtu", f"tunnel {inner} + {OUTSIDE} fits into {outer}")


def _others(interface: str) -> list[str]:
    """The interfaces of default routes (route(4) of /proc/net)."""
    with contextlib.suppress(OSError, IndexError):
        rows = [line.split() for line in Path("/proc/self/net/route").read_text().splitlines()[1:]]
        return [row[0] for row in rows if row[1] == "00000000" and row[0] != interface]
    return []


def _mtu_of(interface: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    return None


def name_server(address: str) -> Seen:
    """Whether a name server answers a question, whatever the answer (RFC 1035: the name servers of the root)."""
    question = struct.pack(">HHHHHH", 0x5A11, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack(">HH", 2, 1)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(NAME_SERVER_PATIENCE)
        asking.sendto(question, (address, 53))
        if asking.recv(512)[:2] == question[:2]:
            return Seen("names", f"{address} answers")
    return Seen(
        "names", f"{address} does not answer", "the policy must let everybody reach udp/53 there, in quarantine too"
    )
