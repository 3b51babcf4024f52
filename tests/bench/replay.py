"""`python -m tests.bench.replay [--devices N] [--days D]`: how long a replay of a recorded month takes.

The history is made first: on every working day a device has a session, whose first report states all facts, and one and a half
changes on average. Every row is a decision that was made; the replay has to find each of them again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from agent.wire import Fact
from gateway.access import courses, verdicts
from gateway.cli.replay import Task, results
from gateway.policy import record
from gateway.policy.load import load_policy, texts
from gateway.policy.model import Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question, subject_to_json
from gateway.policy.replay import Replay
from gateway.store import tables
from gateway.store.engine import open_engine, reading, writing
from gateway.store.migrate import upgrade
from tests.bench.fleet import GROUPS, facts, portions

POLICIES = Path(__file__).parents[2] / "policies"
UNTIL = datetime(2026, 11, 25, tzinfo=UTC)
Row = dict[str, Any]


def write(url: str, policy: Policy, devices: int, days: int) -> int:
    """Write the history. Gives the number of its rows."""
    engine, rows = open_engine(url), 0
    upgrade(engine)
    lives = (_life(policy, number, days, random.Random(number)) for number in range(devices))
    for portion in portions(lives, 100):
        with writing(engine) as db:
            for place, table in enumerate((tables.Device, tables.Login, tables.Session, tables.History)):
                made = [row for life in portion for row in life[place]]
                db.execute(insert(table), made)
        rows += len(made)
    engine.dispose()
    return rows


def _life(policy: Policy, number: int, days: int, chance: random.Random) -> tuple[list[Row], ...]:
    device, user, groups = f"{number:043d}", f"user-{number // 2}", chance.choice(GROUPS)
    who = {"issuer": "https://issuer.example", "subject": f"sub-{number // 2}"}
    first = UNTIL - timedelta(days=days)
    end = UNTIL + timedelta(days=1)
    enrolled = {
        "id": device,
        "jwk": {},
        "name": device,
        "platform": "linux",
        "agent_version": "0.1.0",
        "enrolled_at": first,
        **who,
    }
    login = {
        "id": device,
        "device": device,
        "user": user,
        "groups": groups,
        "authenticated_at": first,
        "expires_at": end,
        **who,
    }
    subject = Subject(user, frozenset(groups), device)
    said, since = facts(chance, now=first), {}
    sessions: list[Row] = []
    history: list[Row] = []
    for day in range(days):
        begin = first + timedelta(days=day, hours=8, seconds=chance.randint(0, 3600))
        if begin.weekday() < 5:
            said = {
                **said,
                "antivirus.signatures_at": begin.timestamp() - chance.uniform(0, 86400),
                "patches.lists_updated_at": begin.timestamp(),
            }
            name = f"{number:07d}-{day:02d}-session-of-a-day"
            for row, decision in _day(policy, subject, name, said, since, begin, chance):
                history.append(row)
                since = decision.failing_since
            sessions.append(
                {
                    "id": name, "device": device, "login": device, "user": user, "groups": groups, "started_at": begin,
                    "expires_at": begin + timedelta(hours=12), "active_at": begin, "lease_until": begin, "nonce": "n",
                    "ended_at": begin + timedelta(hours=8), "end_reason": "left", **verdicts.kept(decision, policy),
                }
            )  # fmt: skip
    return [enrolled], [login], sessions, history


def _day(
    policy: Policy,
    subject: Subject,
    session: str,
    said: dict[str, Any],
    since: Any,
    begin: datetime,
    chance: random.Random,
) -> Iterator[tuple[Row, Any]]:
    known: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for step in range(2 + chance.choice([0, 1, 1, 2, 2, 3])):
        at = begin + timedelta(seconds=step and 1 + 5000 * (step - 1))
        if step > 1:
            said[chance.choice(["firewall.enabled", "antivirus.running", "custom.fact-1"])] = chance.random() < 0.7
        now = {name: Fact(value, "bench", at.timestamp()) for name, value in said.items()} if step else {}
        asked = Question(subject, Posture(now, at, at) if step else None, at, since)
        decision = asked.answered(policy)
        digest = record.digest(decision)
        as_json = {name: fact.to_json() for name, fact in now.items()}
        question: Row = {
            "subject": subject_to_json(subject),
            "failing_since": {c: s.timestamp() for c, s in since.items()},
        }
        yield {
            "trace": record.trace(session, at, digest), "session": session, "device": subject.device, "at": at,
            "observed_at": at if step else None, "received_at": at if step else None,
            "question": {**question, "facts": record.news(known, as_json)}, "tier": decision.tier,
            "policy_version": policy.version, "digest": digest,
        }, decision  # fmt: skip
        known, since = as_json, decision.failing_since


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/history.db"
        began = time.perf_counter()
        rows = write(url, load_policy(POLICIES / "starter"), chosen.devices, chosen.days)
        size = Path(f"{folder}/history.db").stat().st_size
        print(f"wrote {rows} rows in {time.perf_counter() - began:.0f} s, {size / 1e6:.0f} MB", flush=True)
        for title, files in _policies().items():
            print(json.dumps({"policy": title, "rows": rows, **_measured(url, files, chosen)}), flush=True)


def _policies() -> dict[str, dict[str, bytes]]:
    same = texts(POLICIES / "starter")
    return {
        "the same": same,
        "stricter": {
            n: t.replace(b"    grace: 3d\n", b"").replace(b"warn: true", b"otherwise: limited") for n, t in same.items()
        },
    }


def _measured(url: str, files: dict[str, bytes], chosen: argparse.Namespace) -> dict[str, Any]:
    since = UNTIL - timedelta(days=chosen.days)
    engine = open_engine(url)
    wall = time.perf_counter()
    with reading(engine) as db:
        parts = courses.parts(db, chosen.workers)
    engine.dispose()
    whole = Replay(since, UNTIL)
    for result in results([Task(url, files, part, since, UNTIL) for part in parts]):
        whole.join(result)
    return {
        "devices": whole.devices, "sessions": whole.sessions, "workers": chosen.workers,
        "seconds": round(time.perf_counter() - wall, 1), "minutes_lost": round(whole.lost.total_seconds() / 60),
        "downgraded": len(whole.downgraded), **whole.verdicts,
    }  # fmt: skip


if __name__ == "__main__":
    main()
