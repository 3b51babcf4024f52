"""`python -m tests.bench.plan [DEVICES…]`: how long a plan of a live fleet takes, and what memory it takes per device.

Every size in a process of its own, so that the peak of one is not that of another. The fleet is written before the clock
starts; reading it from the database is part of the plan.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from gateway.access import fleet
from gateway.policy.load import load_policy, loads
from gateway.policy.plan import planned
from gateway.store.engine import open_engine, reading
from gateway.store.migrate import upgrade
from tests.bench.fleet import populate

POLICIES = Path(__file__).parents[2] / "policies"
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


def measure(devices: int) -> dict[str, float]:
    """Plan the starter policy, one grace shorter, against a fleet that the starter policy judged."""
    text = "\n".join(file.read_text() for file in sorted((POLICIES / "starter").glob("*.yaml")))
    changed = loads(text.replace("    grace: 3d\n", "").replace("warn: true", "otherwise: limited"), "changed")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/fleet.db"
        writer = multiprocessing.get_context("fork").Process(target=_write, args=(url, devices))
        writer.start()  # a process of its own: its peak of memory is not the plan's
        writer.join()
        assert writer.exitcode == 0
        engine = open_engine(url)
        with reading(engine) as db:
            next(fleet.live(db, now=NOW))  # what is imported and compiled once is not memory per device
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, used = time.perf_counter(), time.process_time()
        with reading(engine) as db:
            plan = planned(changed, fleet.live(db, now=NOW), at=NOW)
        wall, used = time.perf_counter() - wall, time.process_time() - used
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        engine.dispose()
    assert plan.sessions == devices
    return {
        "devices": devices, "moves": len(plan.moves), "seconds": round(wall, 2), "cpu_seconds": round(used, 2),
        "us_per_device": round(used / devices * 1e6), "grown_bytes_per_device": round(grown * 1024 / devices),
    }  # fmt: skip


def _write(url: str, devices: int) -> None:
    engine = open_engine(url)
    upgrade(engine)
    populate(engine, load_policy(POLICIES / "starter"), devices, now=NOW)
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--alone", action="store_true", help="measure in this process")
    chosen = parser.parse_args()
    for devices in chosen.devices:
        if chosen.alone:
            print(json.dumps(measure(devices)), flush=True)
        else:
            subprocess.run([sys.executable, "-m", "tests.bench.plan", "--alone", str(devices)], check=True)


if __name__ == "__main__":
    main()
