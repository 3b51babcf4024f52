"""Rows to a table and to JSON, each target with whether it was reached."""

from __future__ import annotations

import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.figures import BASE, OPENVPN, TARGETS, Target


@dataclass
class Row:
    """All values of one figure for one pair of programs or one state of ours."""

    figure: str
    unit: str
    pair: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Report:
    """What was measured, in the order in which figures first came."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def add(self, figure: str, unit: str, pair: str, value: float) -> None:
        self.rows.setdefault((figure, pair), Row(figure, unit, pair, [])).values.append(value)

    def ordered(self) -> list[Row]:
        order = list(dict.fromkeys(figure for figure, _ in self.rows))
        return sorted(self.rows.values(), key=lambda row: order.index(row.figure))

    def ratio(self, figure: str, pair: str, against: str) -> float | None:
        mine, other = self.rows.get((figure, pair)), self.rows.get((figure, against))
        return mine.median / other.median if mine and other and other.median else None

    def verdict(self, target: Target) -> tuple[float, bool] | None:
        """The value that the target is about and whether it is reached; None when it was not measured."""
        row = self.rows.get((target.figure, target.pair))
        if row is None:
            return None
        value = row.median if target.against is None else self.ratio(target.figure, target.pair, target.against)
        return None if value is None else (value, target.reached(value))

    def table(self) -> str:
        """All rows as Markdown."""
        lines = [
            f"| figure | programs | median | min | max | against {BASE} | against {OPENVPN} |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for row in self.ordered():
            ratios = [self.ratio(row.figure, row.pair, other) for other in (BASE, OPENVPN)]
            shown = " | ".join("" if each is None else f"{each:.2f}x" for each in ratios)
            digits = 1 if row.median < 100 else 0
            numbers = " | ".join(f"{each:.{digits}f}" for each in (min(row.values), max(row.values)))
            lines.append(f"| {row.figure} | {row.pair} | {row.median:.{digits}f} {row.unit} | {numbers} | {shown} |")
        return "\n".join(lines)

    def targets(self) -> str:
        """All targets as Markdown, those too that nothing was measured for."""
        lines = ["| must | of | found | reached |", "|---|---|---:|---|"]
        for target in TARGETS:
            against = "" if target.against is None else f" against {target.against}"
            unit = "x" if target.against else ""
            must = f"{target.figure}: {'at most' if target.at_most else 'at least'} {target.bound:g}{unit}{against}"
            verdict = self.verdict(target)
            found = (
                ("not measured", "") if verdict is None else (f"{verdict[0]:.2f}{unit}", "yes" if verdict[1] else "no")
            )
            lines.append(f"| {must} | {target.pair} | {found[0]} | {found[1]} |")
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        rows = [
            {"figure": r.figure, "unit": r.unit, "programs": r.pair, "values": r.values, "median": r.median,
             "min": min(r.values), "max": max(r.values),
             "ratios": {other: self.ratio(r.figure, r.pair, other) for other in (BASE, OPENVPN)}}
            for r in self.ordered()
        ]  # fmt: skip
        targets = []
        for target in TARGETS:
            verdict = self.verdict(target)
            value, reached = verdict if verdict is not None else (None, None)
            told = {"figure": target.figure, "programs": target.pair, "against": target.against, "bound": target.bound}
            targets.append({**told, "at_most": target.at_most, "value": value, "reached": reached})
        return {"machine": machine(), "rows": rows, "targets": targets}


def machine() -> str:
    """What it ran on, and how busy that was."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    load = Path("/proc/loadavg").read_text().split()[0]
    return f"{cores} cores, {cpu.partition(':')[2].strip()}, Linux {platform.release()}, load {load} at the end"
