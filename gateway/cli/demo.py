"""`sallyport demo`: three hosts, the real programs, six steps observed in packets."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from gateway.demo import stage
from gateway.demo.steps import NAMES, Play
from gateway.demo.timeline import Timeline, summary
from gateway.errors import HostError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every step with its figures to a file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all steps. Status 0 when every one was observed in packets, 1 otherwise."""
    signal.signal(signal.SIGTERM, _interrupt)
    stage.check_machine()
    if arguments.json is not None:
        _check_writable(arguments.json)
    play: Play | None = None
    console = Console()
    with Timeline(NAMES, console) as timeline:
        try:
            with stage.built(timeline.note) as built, contextlib.closing(Play(built, timeline.note)) as play:
                for step in play.steps:
                    timeline.add(step())
                    if not timeline.steps[-1].ok:
                        break
        finally:
            contained = play.time_to_contain_ms if play is not None else None
            result = summary(timeline.steps, planned=len(NAMES), time_to_contain_ms=contained)
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if not result["ok"]:
        print(f"error: step {len(timeline.steps)} did not hold: {timeline.steps[-1].name}", file=sys.stderr)
        return 1
    console.print(f"time to contain: {contained:.0f} ms from the flushed firewall to the flow's last packet")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End in order, as Ctrl-C does: what was built is taken down."""
    raise KeyboardInterrupt


def _check_writable(file: Path) -> None:
    try:
        file.write_text("")
    except OSError as error:
        raise HostError(f"--json {file}: {error.strerror}") from None
