"""`make bench`: ours against the peers, interleaved in one run, as ratios. `--runs N`, `--json FILE`."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.demo.namespaces import Host
from tests.bench import measure, peers

RESULTS = Path(__file__).parent / "RESULTS.md"
Figure = Callable[[Host, Host, str], float]
BOTH_ENDS = ("native", "python", "wireguard-go-newest", "wireguard-go", "boringtun", "openvpn")
BASE = "wireguard-go-newest"


@dataclass
class Row:
    """All values of one figure for one pair of programs, and the median against the base's."""

    figure: str
    unit: str
    pair: str
    values: list[float]
    ratio: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


FIGURES: dict[str, tuple[str, Figure]] = {
    "one TCP stream, there": ("Mbit/s", measure.tcp),
    "one TCP stream, back": ("Mbit/s", lambda c, s, a: measure.tcp(c, s, a, "-R")),
    "8 TCP streams, there": ("Mbit/s", lambda c, s, a: measure.tcp(c, s, a, "-P", "8")),
    "UDP, 64 bytes": ("packets/s", lambda c, s, a: measure.udp_packets(c, s, a, 64)),
    "UDP, 1400 bytes": ("packets/s", lambda c, s, a: measure.udp_packets(c, s, a, 1392)),
    "round trip, p50": ("us", lambda c, _s, a: statistics.median(measure.round_trips(c, a))),
    "round trip, p99": ("us", lambda c, _s, a: measure.round_trips(c, a)[-4]),
}


def pairs(programs: dict[str, str]) -> list[tuple[str, str]]:
    """Every program at both ends, and our gateway end with a stock client."""
    found = [(name, name) for name in BOTH_ENDS if name in programs]
    if {"native", BASE} <= programs.keys():
        found.append((BASE, "native"))
    return found


def run(programs: dict[str, str], runs: int) -> Iterator[Row]:
    """Measure: one round takes every pair once, so that what the machine does meanwhile falls on all alike."""
    rows: dict[tuple[str, str], Row] = {}
    for number in range(runs):
        for one, other in pairs(programs):
            label = one if one == other else f"{one} → {other}"
            with peers.tunnel(one, other) as (client, server, address):
                for figure, (unit, take) in FIGURES.items():
                    row = rows.setdefault((figure, label), Row(figure, unit, label, []))
                    row.values.append(take(client, server, address))
            print(f"round {number + 1} of {runs}: {label}", flush=True)
    for (figure, _), row in sorted(rows.items(), key=lambda item: list(FIGURES).index(item[0][0])):
        base = rows.get((figure, BASE))
        row.ratio = row.median / base.median if base else None
        yield row


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        f"| figure | programs | median | min | max | against {BASE} |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}x" if row.ratio is not None else ""
        numbers = f"{row.median:.0f} {row.unit} | {min(row.values):.0f} | {max(row.values):.0f}"
        lines.append(f"| {row.figure} | {row.pair} | {numbers} | {ratio} |")
    return "\n".join(lines)


def machine() -> str:
    """What it ran on."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    load = Path("/proc/loadavg").read_text().split()[0]
    return f"{cores} cores, {cpu.partition(':')[2].strip()}, Linux {platform.release()}, load {load} at the end"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=int, default=measure.SECONDS)
    chosen = parser.parse_args()
    measure.SECONDS = chosen.seconds
    programs = peers.available()
    began = time.time()
    rows = list(run(programs, chosen.runs))
    versions = "\n".join(f"- {name}: {version}" for name, version in programs.items())
    text = (
        f"# Results of `make bench`\n\n{time.strftime('%Y-%m-%d', time.localtime(began))}, {chosen.runs} rounds, every "
        f"program at both ends unless two are named, {chosen.seconds} s each, two namespaces and a veth. {machine()}.\n\n"
        f"{versions}\n\n{table(rows)}\n"
    )
    RESULTS.write_text(text)
    print(text)
    if chosen.json:
        chosen.json.write_text(json.dumps([{**asdict(row), "median": row.median} for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
