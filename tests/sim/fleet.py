"""A fleet in a database without anybody having logged in: devices, sessions and postures drawn by chance."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlmodel import Session

from agent.wire import Fact
from gateway.access import sessions
from gateway.policy.policy import Policy
from gateway.store import tables

Facts = Mapping[str, Any] | None


def populate(
    db: Session, policy: Policy, postures: Iterator[tuple[Facts, list[str]]], *, now: datetime, chance: random.Random
) -> list[str]:
    """Give every posture a device, a login and a live session that has been judged by `policy`. Gives the sessions' names."""
    return [
        _join(db, policy, number, facts, groups, now=now, chance=chance)
        for number, (facts, groups) in enumerate(postures)
    ]


def identifier(chance: random.Random, size: int = 32) -> str:
    return urlsafe_b64encode(chance.randbytes(size)).decode().rstrip("=")


def _join(
    db: Session, policy: Policy, number: int, facts: Facts, groups: list[str], *, now: datetime, chance: random.Random
) -> str:
    device = tables.Device(
        id=identifier(chance),
        jwk={},
        name=f"laptop-{number}",
        platform="linux",
        agent_version="0.1.0",
        issuer="https://issuer.example",
        subject=f"sub-{number // 2}",
        enrolled_at=now,
        approved_at=now,
    )
    user = f"user-{number // 2}"
    login = tables.Login(
        id=identifier(chance, 16),
        device=device.id,
        issuer=device.issuer,
        subject=device.subject,
        user=user,
        groups=groups,
        authenticated_at=now,
        expires_at=now + timedelta(hours=12),
    )
    db.add(device)
    db.flush()
    db.add(login)
    db.flush()
    opening: Any = SimpleNamespace(device=device.id, claims={"nonce": ""}, issued_at=now)
    session, _ = sessions.begin(db, policy, opening, now=now, entropy=chance.randbytes)
    db.flush()
    if facts is not None:
        _report(db, policy, session, facts, now=now, chance=chance)
    return session.id


def _report(
    db: Session,
    policy: Policy,
    session: tables.Session,
    facts: Mapping[str, Any],
    *,
    now: datetime,
    chance: random.Random,
) -> None:
    """Keep the facts as a report would, at a moment between a minute ago and now, and judge."""
    said = {
        name: value if isinstance(value, Fact) else Fact(value, "test", now.timestamp())
        for name, value in facts.items()
    }
    received = now - timedelta(seconds=chance.choice([0, 0, 0, 10, 44, 45, 59]))
    failing = {
        check: (now - timedelta(seconds=chance.randint(0, 900_000))).timestamp()
        for check in policy.checks
        if chance.random() < 0.2
    }
    db.add(
        tables.Posture(
            device=session.device,
            session=session.id,
            facts={name: fact.to_json() for name, fact in said.items()},
            observed_at=received,
            received_at=received,
            failing_since=failing,
        )
    )
    db.flush()
    sessions.judge(db, policy, session, sessions.latest_posture(db, session), now=now)
