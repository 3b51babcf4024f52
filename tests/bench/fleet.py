"""A large fleet in a database, written in bulk: what a gateway with so many live sessions would hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Engine, insert

from agent.wire import Fact
from gateway.access import verdicts
from gateway.policy.model import Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question
from gateway.store import tables
from gateway.store.engine import writing

GROUPS = (["employees"], ["employees", "engineering"], ["employees", "finance"], ["contractors"])


def facts(chance: random.Random, *, now: datetime) -> dict[str, Any]:
    """A laptop as the starter policy's checks look at it: nine in ten are healthy in everything."""
    ago = now.timestamp()
    return {
        "agent.version": "0.1.0",
        "antivirus.product": "clamav",
        "antivirus.running": chance.random() < 0.99,
        "antivirus.signatures_at": ago - chance.uniform(0, 2.9 * 86400),
        "disk.home_encrypted": chance.random() < 0.97,
        "disk.root_encrypted": chance.random() < 0.97,
        "disk.swap_encrypted": chance.random() < 0.8,
        "firewall.enabled": chance.random() < 0.99,
        "firewall.product": "ufw",
        "os.distribution": chance.choice(["debian", "ubuntu"]),
        "os.family": "linux",
        "os.version": "24.04",
        "patches.lists_updated_at": ago - chance.uniform(0, 3 * 86400),
        "patches.pending": chance.randint(0, 9),
        "patches.security_pending": 0 if chance.random() < 0.95 else 2,
        **{f"custom.fact-{number}": chance.randint(0, 9) for number in range(10)},
    }


def populate(engine: Engine, policy: Policy, devices: int, *, now: datetime) -> None:
    """Write devices, logins, sessions and postures, judged by `policy`."""
    rows = (_rows(policy, number, random.Random(number), now=now) for number in range(devices))
    while portion := list(islice(rows, 2000)):
        with writing(engine) as db:
            for place, table in enumerate((tables.Device, tables.Login, tables.Session, tables.Posture)):
                db.execute(insert(table), [row[place] for row in portion])


def _rows(policy: Policy, number: int, chance: random.Random, *, now: datetime) -> tuple[dict[str, Any], ...]:
    device, user, groups = f"{number:043d}", f"user-{number // 2}", chance.choice(GROUPS)
    said = {name: Fact(value, "bench", now.timestamp()) for name, value in facts(chance, now=now).items()}
    question = Question(Subject(user, frozenset(groups), device), Posture(said, now, now), now)
    decision = question.answered(policy)
    who = {"issuer": "https://issuer.example", "subject": f"sub-{number // 2}"}
    end = now + timedelta(hours=12)
    return (
        {"id": device, "jwk": {}, "name": f"laptop-{number}", "platform": "linux", "agent_version": "0.1.0", "enrolled_at": now, **who},
        {"id": f"login-{number}", "device": device, "user": user, "groups": groups, "authenticated_at": now, "expires_at": end, **who},
        {
            "id": f"{number:032d}", "device": device, "live_device": device, "login": f"login-{number}", "user": user, "groups": groups,
            "started_at": now, "expires_at": end, "active_at": now, "lease_until": now + timedelta(seconds=60), "sequence": 1, "nonce": "n",
            **verdicts.kept(decision, policy),
        },
        {
            "device": device, "session": f"{number:032d}", "facts": {name: fact.to_json() for name, fact in said.items()},
            "observed_at": now, "received_at": now,
            "failing_since": {check: since.timestamp() for check, since in decision.failing_since.items()},
        },
    )  # fmt: skip


def portions(things: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while portion := list(islice(things, size)):
        yield portion
