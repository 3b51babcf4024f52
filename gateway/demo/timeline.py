"""The timeline: what each step expects and what was observed, live in a terminal, as plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

REMEMBERED_NOTES: Final = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the demo. `milliseconds` is the figure that the step is about; `expected` says which."""

    name: str
    expected: str
    observed: str
    milliseconds: float
    ok: bool


def summary(steps: Sequence[Step], *, planned: int, time_to_contain_ms: float | None) -> dict[str, Any]:
    """The JSON result. `ok` only when every planned step was done and held."""
    return {
        "ok": len(steps) == planned and all(step.ok for step in steps),
        "time_to_contain_ms": time_to_contain_ms,
        "steps": [asdict(step) for step in steps],
    }


class Timeline:
    """Shows steps and notes as they happen. Use as a context manager."""

    def __init__(self, names: Sequence[str], console: Console) -> None:
        self._names = names
        self._console = console
        self._began = time.monotonic()
        self.steps: list[Step] = []
        self._notes: list[str] = []
        live = console.is_terminal
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=8) if live else None

    def __enter__(self) -> Timeline:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, text: str) -> None:
        """Something that happened on the way."""
        line = f"{self.elapsed():6.2f} s  {text}"
        self._notes.append(line)
        if not self._live:
            self._say(line)

    def add(self, step: Step) -> None:
        """A step is over."""
        self.steps.append(step)
        if not self._live:
            self._say(f"{self.elapsed():6.2f} s  {verdict(step)}  {len(self.steps)}. {step.name}")
            self._say(f"            expected: {step.expected}")
            self._say(f"            observed: {step.observed}  [{step.milliseconds:.1f} ms]")

    def elapsed(self) -> float:
        """Seconds since the timeline began."""
        return time.monotonic() - self._began

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> Group:
        notes = (Text(line, style="dim", overflow="fold") for line in self._notes[-REMEMBERED_NOTES:])
        return Group(table(self._names, self.steps), *notes)


def verdict(step: Step) -> str:
    """`ok` or `FAILED`."""
    return "ok" if step.ok else "FAILED"


def table(names: Sequence[str], steps: Sequence[Step]) -> Table:
    """All steps: those that are over with what was observed, then the one that runs, then the rest."""
    picture = Table(title="sallyport demo", title_style="bold", expand=True)
    for heading, options in (("", {"width": 6}), ("step", {"ratio": 2}), ("observed in packets", {"ratio": 3})):
        picture.add_column(heading, **options)  # type: ignore[arg-type]
    picture.add_column("ms", justify="right", width=9)
    for number, name in enumerate(names):
        if number < len(steps):
            step = steps[number]
            colour = "green" if step.ok else "bold red"
            picture.add_row(Text(verdict(step), style=colour), step.name, step.observed, f"{step.milliseconds:.1f}")
        else:
            running = number == len(steps)
            picture.add_row("now" if running else "", name, "", "", style="" if running else "dim")
    return picture
