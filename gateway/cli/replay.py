"""`sallyport policy replay`: what a policy would have done to the recorded time, as text, JSON and a page with a chart."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.access import courses
from gateway.access.courses import Part
from gateway.cli import fleet, page
from gateway.errors import HostError, StoreError
from gateway.policy import durations
from gateway.policy.load import assemble, load_policy, texts
from gateway.policy.policy import Policy
from gateway.policy.replay import Replay, Toll, replayed
from gateway.store.engine import open_engine, reading

SHOWN = 10
"""Users and checks that a person reads; `--json` has them all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add since when, and where the page goes."""
    parser.add_argument(
        "--since", type=_duration, default=timedelta(days=30), metavar="DURATION", help="30d unless said: 12h, 7d"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with a chart")
    parser.add_argument(
        "--workers", type=_count, default=os.cpu_count() or 1, metavar="N", help="one per core unless said"
    )


def _duration(text: str) -> timedelta:
    try:
        return durations.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is no number of workers; allowed are 1 to 64")
    return int(text)


@dataclass(frozen=True, slots=True)
class Task:
    """What one worker needs; nothing of it is bound to a process."""

    database: str
    policy: dict[str, bytes]
    part: Part
    since: datetime
    until: datetime


def run(arguments: argparse.Namespace) -> tuple[Policy, Replay]:
    """Replay the record of the settings' database, shared among processes. Raises GatewayError."""
    policy = load_policy(arguments.policy)
    until = datetime.now(UTC)
    with fleet.database() as engine:
        url = engine.url.render_as_string(hide_password=False)
        with reading(engine) as db:
            parts = courses.parts(db, arguments.workers)
    since = until - arguments.since
    tasks = [Task(url, texts(arguments.policy), part, since, until) for part in parts]
    whole = Replay(since, until)
    try:
        for result in results(tasks):
            whole.join(result)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the history holds something that is no record: {type(error).__name__}: {error}") from None
    if arguments.html is not None:
        _write(arguments.html, page.written(policy, whole))
    return policy, whole


def results(tasks: list[Task]) -> Iterator[Replay]:
    """Replay every part, each in a process of its own when there are several."""
    if len(tasks) == 1:
        yield replay_part(tasks[0])
        return
    # spawn: a fork would take the database connections of this process along
    with ProcessPoolExecutor(len(tasks), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(replay_part, tasks)


def replay_part(task: Task) -> Replay:
    """Replay some of the devices."""
    engine = open_engine(task.database)
    try:
        with reading(engine) as db:
            recorded = courses.recorded(db, task.part, since=task.since, until=task.until)
            return replayed(assemble(task.policy), recorded, since=task.since, until=task.until)
    finally:
        engine.dispose()


def _write(file: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise HostError(f"{file} cannot be written: {error.strerror}") from None


def as_text(policy: Policy, done: Replay) -> Iterator[str]:
    """Write the replay for a person."""
    span = f"{done.since:%Y-%m-%d %H:%M} to {done.until:%Y-%m-%d %H:%M} UTC"
    yield f"replay of {policy.name} {policy.version[:12]} over {span}: {done.sessions} sessions on {done.devices} devices"
    yield f"  killed      {len(done.killed):>7} sessions"
    yield f"  downgraded  {len(done.downgraded - done.killed):>7} sessions"
    yield f"  lost        {minutes(done.lost):>7} minutes at a worse tier than recorded"
    yield f"  gained      {minutes(done.gained):>7} minutes at a better one"
    yield from _tolls("by check", done.by_check)
    yield from _tolls("by day", {day.isoformat(): toll for day, toll in done.by_day.items()}, by_name=True)
    yield from _tolls("by user", done.by_user)
    yield from _verdicts(done)


def _tolls(title: str, tolls: Mapping[str, Toll], *, by_name: bool = False) -> Iterator[str]:
    ordered = sorted(tolls.items()) if by_name else most(tolls)
    shown = ordered if by_name else ordered[:SHOWN]
    if shown:
        yield title + (f", the {SHOWN} that lose most" if len(shown) < len(ordered) else "")
    for name, toll in shown:
        yield f"  {name}: {len(toll.sessions)} session{'' if len(toll.sessions) == 1 else 's'}, {minutes(toll.lost)} minutes"


def most(tolls: Mapping[str, Toll]) -> list[tuple[str, Toll]]:
    return sorted(tolls.items(), key=lambda item: (-item[1].lost, item[0]))


def _verdicts(done: Replay) -> Iterator[str]:
    same, different = done.verdicts["reproduced"], done.verdicts["different"]
    if same or different:
        yield f"verdicts of this policy: {same} of {same + different} reproduced bit for bit"
    yield from (f"  different: {trace}" for trace in done.differing)
    if other := done.verdicts["of another policy"]:
        yield f"verdicts of other policies: {other}"


def minutes(span: timedelta) -> int:
    return round(span.total_seconds() / 60)


def as_json(policy: Policy, done: Replay) -> dict[str, Any]:
    """Write the replay for a program."""
    return {
        "policy": policy.name,
        "version": policy.version,
        "since": done.since.isoformat(),
        "until": done.until.isoformat(),
        "devices": done.devices,
        "sessions": done.sessions,
        "killed": sorted(done.killed),
        "downgraded": sorted(done.downgraded - done.killed),
        "seconds_lost": done.lost.total_seconds(),
        "seconds_gained": done.gained.total_seconds(),
        "by_check": _tolls_json(done.by_check),
        "by_day": _tolls_json({day.isoformat(): toll for day, toll in sorted(done.by_day.items())}),
        "by_user": _tolls_json(done.by_user),
        "verdicts": {name: done.verdicts[name] for name in ("reproduced", "different", "of another policy")},
        "different": done.differing,
    }


def _tolls_json(tolls: Mapping[str, Toll]) -> dict[str, Any]:
    return {
        name: {"sessions": len(toll.sessions), "seconds_lost": toll.lost.total_seconds()}
        for name, toll in tolls.items()
    }
