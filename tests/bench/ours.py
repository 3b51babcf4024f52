"""Figures of our own tunnel against itself: many peers and permits, floods, rates, instances."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import core, measure
from tests.bench.measure import Iperf, resident, seconds_of_tcp
from tests.bench.star import Star, Tunnel, star
from tests.sim.wire import public_key

MANY = 10_000


class Value(NamedTuple):
    """One value of one row."""

    figure: str
    unit: str
    row: str
    value: float


def peers() -> Iterator[Value]:
    """One tunnel with one peer, then with 10,000, then with one again, and what they take of memory."""
    with star() as made:
        gateway = made.gateways[0]
        keys = [public_key(number.to_bytes(4, "big") * 8).hex() for number in range(1, MANY)]
        yield Value("TCP with 10,000 peers", "Mbit/s", "1 peer", _tcp(made))
        before = resident(gateway.program.pid)
        for at in range(0, len(keys), 500):
            lines = [line for n, key in enumerate(keys[at : at + 500], at) for line in _idle(n, key)]
            gateway.set(*lines)
        taken = (resident(gateway.program.pid) - before) / 1024 / len(keys)
        yield Value("memory per idle peer at 10,000", "KiB", "native", taken)
        yield Value("TCP with 10,000 peers", "Mbit/s", "10,000 peers", _tcp(made))


def _idle(number: int, key: str) -> list[str]:
    return [f"public_key={key}", f"allowed_ip=10.{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32"]


def permits() -> Iterator[Value]:
    """The busy peer with one permit, and with 10,000."""
    with star() as made:
        gateway, client = made.gateways[0], made.clients[0]
        own = f"permit={made.addresses[0]}/32 tcp"  # a wider one does not mean the gateway itself
        for row, others in (("1 permit", 0), ("10,000 permits", MANY - 1)):
            more = [f"permit=10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32 tcp/443" for n in range(others)]
            gateway.set(f"public_key={_hex(client)}", "replace_permits=true", own, *more)
            yield Value("TCP with 10,000 permits", "Mbit/s", row, _tcp(made))


def _hex(tunnel: Tunnel) -> str:
    return base64.b64decode(tunnel.public_key).hex()


def _tcp(made: Star) -> float:
    return measure.tcp(made.clients[0].host, made.gateways[0].host, made.addresses[0])


def handshakes() -> Iterator[Value]:
    yield Value("handshakes answered on one core", "handshakes/s", "native", core.handshakes_per_second())


def flood() -> Iterator[Value]:
    """One client's TCP alone, and while another sends UDP as fast as it can."""
    with star(clients=2) as made:
        client, server = made.clients[0].host, made.gateways[0].host
        alone = measure.tcp(client, server, made.addresses[0])
        seconds = str(measure.SECONDS + 2)
        flooding = Iperf(made.clients[1].host, server, made.addresses[1], "-u", "-b", "0", "-l", "1392", "-t", seconds, port=5202)  # fmt: skip
        beside = measure.tcp(client, server, made.addresses[0])
        flooding.end()
        yield Value("TCP beside a flood", "Mbit/s", "half of alone", alone / 2)
        yield Value("TCP beside a flood", "Mbit/s", "flooded", beside)


def rates() -> Iterator[Value]:
    """How far the worst second of a TCP stream is from its peer's rate, in per cent."""
    with star() as made:
        client, gateway = made.clients[0], made.gateways[0]
        for mbit in (20, 200):
            for way, options in (("rx", ()), ("tx", ("-R",))):
                gateway.set(f"public_key={_hex(client)}", "rate_rx=0", "rate_tx=0", f"rate_{way}={mbit * 10**6}")
                seen = seconds_of_tcp(client.host, gateway.host, made.addresses[0], 4, *options)
                worst = max(abs(each / mbit - 1) * 100 for each in seen)
                yield Value("rate, worst second of TCP", "%", f"{mbit} Mbit/s, {way}", worst)


def instances() -> Iterator[Value]:
    """Two clients at once at one instance, and at two."""
    for count, row in ((1, "one instance"), (2, "two instances")):
        with star(instances=count, clients=2) as made:
            runs = [
                Iperf(each.host, made.gateways[0].host, address, "-t", str(measure.SECONDS), port=5201 + number)
                for number, (each, address) in enumerate(zip(made.clients, made.addresses, strict=True))
            ]
            total = sum(each.received()["bits_per_second"] for each in runs) / 1e6
            yield Value("two clients, both at once", "Mbit/s", row, total)


OURS: dict[str, Callable[[], Iterator[Value]]] = {
    "peers": peers,
    "permits": permits,
    "handshakes": handshakes,
    "flood": flood,
    "rates": rates,
    "instances": instances,
}
