"""Figures of logging in: `python -m tests.bench.login [--count N]` prints JSON.

callback    from the browser's return to the session that is open, without the provider's own time: callback, confirmation and
            `POST /v1/sessions`, over the application, its database on disk, and the strict verifier
strangers   N login starts and N tokens with unknown keys: how much memory grows, and how often the provider's keys are
            asked for in a minute of the gateway's clock
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from gateway.access.devices import Admission
from gateway.errors import Unauthenticated
from gateway.identity import login_state
from gateway.identity.jwks import KeySet
from tests.sim.gateway import Device, World
from tests.sim.provider import KEYS, LoginDesk, Provider

LOGINS = 400
MINUTES = 10


class Stopwatch(Provider):
    """A provider that counts the time that it takes itself."""

    taken: float = 0.0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        began = time.perf_counter()
        try:
            return super().handle_request(request)
        finally:
            self.taken += time.perf_counter() - began


def callback(folder: Path) -> dict[str, float]:
    """Let people log in, one after the other."""
    world, provider = World(folder), Stopwatch()
    world.deployment = replace(world.deployment, admission=Admission(most_devices=LOGINS))
    world.use_provider(provider)
    world.tick()
    pairs = [_login(world, provider, number) for number in range(LOGINS)]
    world.close()
    taken, worked = (sorted(values) for values in zip(*pairs, strict=True))
    return {
        "logins": LOGINS,
        "p50_ms": round(taken[LOGINS // 2] * 1000, 2),
        "p99_ms": round(taken[LOGINS * 99 // 100] * 1000, 2),
        "p99_cpu_ms": round(worked[LOGINS * 99 // 100] * 1000, 2),
        "worst_ms": round(taken[-1] * 1000, 2),
    }


def _login(world: World, provider: Stopwatch, number: int) -> tuple[float, float]:
    """Give the seconds that passed, and those of the processor: on a busy machine they tell different things."""
    device = Device(world, f"laptop-{number}")
    name = device.ask_enrolment().json()["enrolment"]
    query = device.leave_for(provider, name)
    before, began, worked = provider.taken, time.perf_counter(), time.process_time()
    location = device.come_back(query).headers["location"]
    assert device.confirm(name, parse_qs(urlsplit(location).query)["code"][0]).status_code == 200
    assert device.begin().status_code == 201
    return time.perf_counter() - began - (provider.taken - before), time.process_time() - worked


def strangers(count: int) -> dict[str, Any]:
    """Begin logins that nobody finishes, and show tokens by keys that nobody has."""
    provider = Provider()
    desk = LoginDesk(provider)
    keys = KeySet(f"{provider.base}{KEYS}", desk.party._http)
    _begin(desk, 1_000)
    _unknown(keys, provider, 1_000, start=-1_000)
    before, asked, began = _rss(), desk.asked([KEYS]), provider.now
    _begin(desk, count)
    begun = _rss()
    _unknown(keys, provider, count)
    minutes = (provider.now - began) / timedelta(minutes=1)
    return {
        "login_starts": count,
        "grown_by_login_starts_kib": begun - before,
        "unknown_kids": count,
        "grown_by_unknown_kids_kib": _rss() - begun,
        "key_fetches_per_minute": round((desk.asked([KEYS]) - asked) / minutes, 2),
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _begin(desk: LoginDesk, count: int) -> None:
    for _ in range(count):
        begun = desk.party.begin("admin", entropy=os.urandom, now=desk.provider.now)
        login_state.seal(begun.state, bytes(32))


def _unknown(keys: KeySet, provider: Provider, count: int, *, start: int = 0) -> None:
    pause = timedelta(minutes=MINUTES) / max(count, 1)
    for number in range(start, start + count):
        provider.now += pause
        provider.requests.clear()
        with contextlib.suppress(Unauthenticated):
            keys.find(f"stranger-{number}", "RS256", now=provider.now)


def _rss() -> int:
    """Resident memory in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.login")
    parser.add_argument("--count", type=int, default=1_000_000, help="login starts, and unknown keys; 1000000")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        measured = {"callback": callback(Path(folder)), "strangers": strangers(count)}
    print(json.dumps(measured, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
