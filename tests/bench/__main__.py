"""`make bench`: ours against the peers, interleaved in one run, as ratios. `--runs N`, `--json FILE`, `--only a,b`."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import GatewayError
from tests.bench import measure, peers
from tests.bench.figures import BOTH_ENDS, MIXED, PROBES, Probe
from tests.bench.ours import OURS
from tests.bench.report import Report, machine

RESULTS = Path(__file__).parent / "RESULTS.md"
NAMES = [*(probe.name for probe in PROBES), *OURS]


def pairs(programs: dict[str, str]) -> list[tuple[str, str]]:
    """Every program at both ends, and our gateway end with a stock client."""
    found = [(name, name) for name in BOTH_ENDS if name in programs]
    return [*found, MIXED] if set(MIXED) <= programs.keys() else found


def round_of_programs(report: Report, programs: dict[str, str], probes: list[Probe]) -> None:
    """Every pair once, so that what the machine does meanwhile falls on all alike."""
    for one, other in pairs(programs):
        label = one if one == other else f"{one} → {other}"
        with _going_on(label), peers.tunnel(one, other) as (client, server, address):
            for probe in probes:
                values = probe.take(client, server, address)
                for figure, value in zip(probe.figures, values, strict=True):
                    report.add(figure, probe.unit, label, value)


@contextlib.contextmanager
def _going_on(what: str) -> Iterator[None]:
    """Say what failed and go on: one figure less, and not an hour lost."""
    try:
        yield
    except (
        AssertionError,
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        GatewayError,
        subprocess.SubprocessError,
    ) as error:
        print(f"{what} is left out of this round: {error!r}", file=sys.stderr, flush=True)


def run(programs: dict[str, str], runs: int, only: list[str]) -> Report:
    report = Report()
    probes = [probe for probe in PROBES if probe.name in only]
    for number in range(runs):
        if probes:
            round_of_programs(report, programs, probes)
        for name, take in OURS.items():
            if name in only and "native" in programs:
                with _going_on(name):
                    for figure, unit, row, value in take():
                        report.add(figure, unit, row, value)
        print(f"round {number + 1} of {runs} at {time.strftime('%H:%M:%S')}", file=sys.stderr, flush=True)
    return report


def text(report: Report, programs: dict[str, str], runs: int, began: float) -> str:
    versions = "\n".join(f"- {name}: {version}" for name, version in programs.items())
    return (
        f"# Results of `make bench`\n\n{time.strftime('%Y-%m-%d', time.localtime(began))}, {runs} rounds in "
        f"{(time.time() - began) / 60:.0f} minutes, every program at both ends unless two are named, {measure.SECONDS} s "
        f"each, two namespaces and a veth, or three and a bridge. {machine()}. Without loss means at most "
        f"{measure.LOST:.1%}.\n\n{versions}\n\n## What must be reached\n\n{report.targets()}\n\n## Everything\n\n{report.table()}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=int, default=measure.SECONDS)
    parser.add_argument("--only", help=f"some of {', '.join(NAMES)}; RESULTS.md stays as it is")
    chosen = parser.parse_args()
    only = chosen.only.split(",") if chosen.only else NAMES
    if unknown := [name for name in only if name not in NAMES]:
        parser.error(f"--only {unknown[0]}: allowed are {', '.join(NAMES)}")
    measure.SECONDS = chosen.seconds
    programs = peers.available()
    began = time.time()
    report = run(programs, chosen.runs, only)
    shown = text(report, programs, chosen.runs, began)
    print(shown)
    if not chosen.only:
        RESULTS.write_text(shown)
    if chosen.json:
        chosen.json.write_text(json.dumps(report.json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
