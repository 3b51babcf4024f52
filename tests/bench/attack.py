"""`make bench-attack`: goodput of a session while strangers flood the gateway (SECURITY.md L-05, L-06).

The flood comes from a host of its own, over a wire of its own, with raw sockets and 100,000 source addresses. It needs
processor time on the same machine; so besides the quiet goodput there is a control: the same flood to another port of
the same host, where nobody reads it. What is lost against the control is what the flood does to the tunnel.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.wireguard.cookie import CookieJar
from gateway.wireguard.messages import INITIATION, SIZES, TRANSPORT
from tests.bench import measure
from tests.interop.ends import PORT, PROGRAMS, End, pair, uapi, until, wg

SOURCES = 100_000
GATEWAY, ATTACKER, NOBODY = "203.0.113.1", "203.0.113.2", 9999
JUNK, INITIATIONS = "junk", "initiations"
RATES = {JUNK: 50_000, INITIATIONS: 10_000}


def datagrams(kind: str, public_key: bytes) -> list[bytes]:
    """What is sent, over and over: rubbish of five sorts, or initiations whose mac1 is sound."""
    dice = random.Random(5)
    if kind == INITIATIONS:
        bodies = [INITIATION.to_bytes(4, "little") + dice.randbytes(SIZES[INITIATION] - 36) for _ in range(1000)]
        return [CookieJar(public_key).sign(body, now=0.0) for body in bodies]
    sorts = [
        lambda: dice.randbytes(dice.randrange(1, 200)),
        lambda: INITIATION.to_bytes(4, "little") + dice.randbytes(SIZES[INITIATION] - 4),  # a wrong mac1
        lambda: INITIATION.to_bytes(4, "little") + dice.randbytes(40),  # a wrong length
        lambda: TRANSPORT.to_bytes(4, "little") + dice.randbytes(76),  # an index that nobody has
        lambda: dice.randbytes(4) + bytes(100),
    ]
    return [sorts[number % len(sorts)]() for number in range(1000)]


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct mmsghdr, of which only the one buffer is used."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32), ("vector", ctypes.POINTER(Vector)),
        ("vectors", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("sent", ctypes.c_uint),
    ]  # fmt: skip


class Volley:
    """Packets that are sent many at a time (sendmmsg(2)), because one by one they would need a processor of their own."""

    def __init__(self, packets: list[bytes]) -> None:
        self._vectors = (Vector * len(packets))(*(Vector(each, len(each)) for each in packets))
        self._messages = (Message * len(packets))()
        for message, vector in zip(self._messages, self._vectors, strict=True):
            message.vector, message.vectors = ctypes.pointer(vector), 1
        self._at = 0
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg

    def send(self, sock: socket.socket, count: int) -> int:
        """Send the next ones. Gives how many the kernel took; those that it refused are passed over."""
        count = min(count, len(self._messages) - self._at)
        done = self._send(sock.fileno(), ctypes.byref(self._messages, self._at * ctypes.sizeof(Message)), count, 0)
        taken = max(done, 1)
        self._at = (self._at + taken) % len(self._messages)
        return taken


def flood(kind: str, port: int, rate: int, seconds: float, public_key: bytes) -> None:
    """Send in the namespace that this process is in. Prints when it began and what rate it reached."""
    bodies = datagrams(kind, public_key)
    packets = []
    for number in range(SOURCES):
        body = bodies[number % len(bodies)]
        source = struct.pack("!I", 0xC6120000 + number)  # 198.18.0.0/15
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 28 + len(body), 0, 0, 64, 17, 0, source, socket.inet_aton(GATEWAY)
        )
        packets.append(header + struct.pack("!HHHH", 1024 + number % 50_000, port, 8 + len(body), 0) + body)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.connect((GATEWAY, 0))
        volley = Volley(packets)
        sent, began = 0, time.monotonic()
        print(f"began {time.time()}", flush=True)
        while (elapsed := time.monotonic() - began) < seconds:
            due = min(int(elapsed * rate) - sent, 256)
            sent += volley.send(raw, due) if due > 0 else 0
            if due < 256:
                time.sleep(0.001)
        print(f"sent {sent / elapsed:.0f}", flush=True)


@dataclass
class Scene:
    """A client and a gateway with a session, and a host that attacks."""

    client: End
    gateway: End
    attacker: Host

    def attack(self, kind: str, port: int, seconds: float) -> subprocess.Popen[str]:
        options = ["--flood", kind, "--port", str(port), "--seconds", str(seconds), "--key", self.gateway.public_key]
        command = self.attacker.command(sys.executable, "-m", "tests.bench.attack", *options)
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        assert running.stdout.readline().startswith("began")
        return running

    def goodput(self) -> float:
        return measure.tcp(self.client.host, self.gateway.host, self.gateway.inner(4))

    def drops(self) -> dict[str, int]:
        told = uapi(self.gateway.interface, "get=1\n\n").partition("public_key=")[0]
        return {name: int(count) for name, count in re.findall(r"^drop_(\w+)=(\d+)$", told, re.MULTILINE)}


@contextlib.contextmanager
def scene(program: str) -> Iterator[Scene]:
    with pair(program, program) as (client, gateway), contextlib.ExitStack() as stack:
        attacker = Host.create("attacker", mark=f"{namespaces.owner_mark()}-a")
        stack.callback(attacker.remove)
        namespaces.ip(
            "link",
            "add",
            "dark",
            "netns",
            gateway.host.name,
            "type",
            "veth",
            "peer",
            "name",
            "dark",
            "netns",
            attacker.name,
        )
        for host, address in ((gateway.host, GATEWAY), (attacker, ATTACKER)):
            host.ip("address", "add", f"{address}/24", "dev", "dark")
            host.ip("link", "set", "dark", "up")
        gateway.host.ip("route", "add", "198.18.0.0/15", "via", ATTACKER)
        with gateway.host.entered():
            unread = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            unread.bind(("0.0.0.0", NOBODY))
        client.ping(gateway, 4, count=1)
        yield Scene(client, gateway, attacker)


@dataclass
class Round:
    """One round of one kind of flood."""

    quiet: float
    control: float
    attacked: float
    rate: float
    drops: dict[str, int]


def one_round(found: Scene, kind: str) -> Round:
    quiet = found.goodput()
    values = []
    for port in (NOBODY, PORT):
        before = found.drops()
        running = found.attack(kind, port, measure.SECONDS + 2)
        values.append(found.goodput())
        told = running.communicate(timeout=60)[0]
    rate = float(told.split("sent ")[1])
    drops = {name: count - before.get(name, 0) for name, count in found.drops().items()}
    return Round(quiet, values[0], values[1], rate, {name: count for name, count in drops.items() if count})


def cookie_delay(found: Scene) -> float:
    """Milliseconds from the first datagram of a flood until a cookie is asked for."""
    time.sleep(1.5)  # the load of before is over
    before = found.drops().get("cookie_required", 0)
    running = found.attack(INITIATIONS, PORT, 1.0)
    began = time.monotonic()
    until(lambda: found.drops().get("cookie_required", 0) > before, "cookies")
    delay = (time.monotonic() - began) * 1000
    running.communicate(timeout=30)
    return delay


def connects(found: Scene, *, new: bool) -> float:
    """Seconds until the first ping of a client, its session lost or never known, is answered during the flood."""
    running = found.attack(INITIATIONS, PORT, 9.0)
    time.sleep(0.5)
    client, gateway = found.client, found.gateway
    if new:
        wg("set", gateway.interface, "peer", client.public_key, "remove")
        gateway.configure(client, endpoint=False)
        time.sleep(1.5)  # until then its address counts as that of a session
    wg("set", client.interface, "private-key", "/dev/stdin", text=client.private_key)  # forgets all sessions
    began = time.monotonic()
    client.ping(gateway, 4, count=1, within=15)
    took = time.monotonic() - began
    running.communicate(timeout=60)
    return took


def report(program: str, runs: int) -> None:
    with scene(program) as found:
        for kind in (JUNK, INITIATIONS):
            rounds = [one_round(found, kind) for _ in range(runs)]
            attacked, control, quiet = (
                statistics.median(getattr(r, n) for r in rounds) for n in ("attacked", "control", "quiet")
            )
            rate = statistics.median(r.rate for r in rounds)
            print(
                f"| {program} | {rate:.0f} {kind}/s | {quiet:.0f} | {control:.0f} | {attacked:.0f} | "
                f"{attacked / control:.2f}x | {attacked / quiet:.2f}x |",
                flush=True,
            )
            print(f"  counted in the last round: {rounds[-1].drops}", flush=True)
        print(f"  cookies are asked for after {cookie_delay(found):.0f} ms (with the time of asking)")
        for new in (False, True):
            who = "was never heard of" if new else "had a session"
            print(f"  a client that {who} connects in {connects(found, new=new):.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--program", action="append", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--flood", choices=RATES, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--key", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.flood:
        flood(chosen.flood, chosen.port, RATES[chosen.flood], chosen.seconds, b64decode(chosen.key))
        return
    print(f"{os.cpu_count()} cores, {chosen.runs} rounds, Mbit/s of one TCP stream")
    print("| program | flood | quiet | flood to another port | flood to the tunnel | against that | against quiet |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for program in chosen.program or ["sallyport"]:
        report(program, chosen.runs)


if __name__ == "__main__":
    main()
