"""Reports per second: signed reports verified, judged and stored by one gateway in one thread, as its endpoint does it.

    python -m tests.bench.identity [--reports 2000] [--devices 200]

Database and disk are real (SQLite, WAL, synchronous=FULL), HTTP and TLS are not in the figure. Reports are signed before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog
from starlette.requests import Request

from gateway.web import agent_api
from tests.sim.gateway import Device, World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=100)
    parsed = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), parsed.devices, parsed.reports), indent=2))


def measured(folder: Path, count: int, reports: int) -> dict[str, float]:
    """Report in turn, each device its next report, and look at the time that each took."""
    world = World(folder, networks=("100.96.0.0/16", "fd53::/64"))
    world.clock.time = datetime.now(UTC)
    world.tick()
    devices = [world.device(f"laptop-{number}", user=f"user-{number}") for number in range(count)]
    for device in devices:
        device.begin()
        device.report()
    took = []
    began = time.process_time()
    for number in range(reports):
        device = devices[number % count]
        body = device.report_body().encode()
        took.append(handled(world, device, body))
    cpu = time.process_time() - began
    world.close()
    took.sort()
    return {
        "reports": reports,
        "per_second": round(reports / sum(took), 1),
        "median_ms": round(1000 * took[len(took) // 2], 2),
        "p99_ms": round(1000 * took[int(len(took) * 0.99)], 2),
        "cpu_ms_with_signing": round(1000 * cpu / reports, 2),
    }


def handled(world: World, device: Device, body: bytes) -> float:
    path = f"/v1/sessions/{device.session}/reports"
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [],
        "client": ("192.0.2.7", 50000),
    }
    scope["path_params"] = {"session": device.session}
    began = time.perf_counter()
    answer = agent_api.report(world.deployment, Request(scope), body)
    spent = time.perf_counter() - began
    said = SimpleNamespace(**json.loads(answer.body))
    device.nonce, device.sequence = said.nonce, said.sequence
    return spent


if __name__ == "__main__":
    main()
