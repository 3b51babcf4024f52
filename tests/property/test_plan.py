"""A plan is exact: whatever fleet and whatever two policies, applying the second does to every session what was planned."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from gateway.access import fleet, reevaluation
from gateway.policy import snapshot
from gateway.policy.load import loads
from gateway.policy.plan import Effect, Plan, planned
from gateway.policy.policy import Policy
from gateway.store import tables
from gateway.store.engine import open_engine, reading, writing
from gateway.store.migrate import upgrade
from tests.property import drawn_policy
from tests.property.drawn_policy import NOW
from tests.sim.fleet import Facts, populate

DEVICES = 60
WORSE = (Effect.KILLED, Effect.DOWNGRADED)


def _policy(chance: random.Random) -> Policy:
    return loads(json.dumps(drawn_policy.document(chance)), "drawn.yaml")


def _postures(chance: random.Random) -> Iterator[tuple[Facts, list[str]]]:
    for _ in range(DEVICES):
        drawn = drawn_policy.device(chance)
        facts = None if drawn.facts is None else {k: v for k, v in drawn.facts.items() if v == v and v != float("inf")}
        yield facts, sorted(drawn.groups)


def _applied(engine: Any, policy: Policy, *, now: Any) -> None:
    with reading(engine) as db:
        due = list(reevaluation.due(db, policy, now=now))
    with writing(engine) as db:
        for name in due:
            reevaluation.reevaluate(db, policy, name, now=now)


@pytest.mark.parametrize("seed", range(16))
def test_applying_does_to_every_session_what_the_plan_said(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    before, after = _policy(chance), _policy(chance)
    engine = open_engine(f"sqlite:///{tmp_path}/fleet.db")
    upgrade(engine)
    with writing(engine) as db:
        populate(db, before, _postures(chance), now=NOW, chance=chance)
        _spoil(db, chance)
    now = NOW + timedelta(seconds=chance.choice([0, 1, 30, 59, 61]))
    with reading(engine) as db:
        there = list(fleet.live(db, now=now))
        rows = {row.id: row for row in db.exec(select(tables.Session)).all()}
        kept = list(snapshot.lines(there, at=now))
    plan = planned(after, there, at=now)
    taken_at, again = snapshot.read(kept)
    assert (taken_at, list(again)) == (now, there)
    _applied(engine, after, now=now)
    with reading(engine) as db:
        done = {row.id: row for row in db.exec(select(tables.Session)).all()}
    _agree(plan, rows, done)
    engine.dispose()


def _spoil(db: Any, chance: random.Random) -> None:
    """Some have been idle, some are over, some rows hold nonsense."""
    for session in db.exec(select(tables.Session).where(tables.Session.ended_at == None)).all():  # noqa: E711
        drawn = chance.random()
        if drawn < 0.05:
            session.active_at -= timedelta(minutes=chance.choice([29, 30, 31]))
        elif drawn < 0.08:
            session.lease_until = NOW
        elif drawn < 0.11 and (posture := db.get(tables.Posture, session.device)):
            posture.facts = {"firewall.enabled": "nonsense"}


def _agree(plan: Plan, before: dict[str, tables.Session], after: dict[str, tables.Session]) -> None:
    """Every session, by what its row says: none is missed and none is named in vain."""
    moves = {move.session: move for move in plan.moves}
    alive = {name for name, row in before.items() if row.live_device is not None}
    assert plan.sessions == len(alive)
    assert {n for n, m in moves.items() if m.effect in (Effect.KILLED, Effect.ENDING)} == {
        name for name in alive if after[name].ended_at is not None
    }
    for name in alive:
        row, now, move = before[name], after[name], moves.get(name)
        if now.ended_at is not None:
            continue
        if move is None or move.effect is Effect.UNCHANGED:
            assert _shown(row) == _shown(now), name
        else:
            assert (move.after, list(move.permits)) == (now.tier, now.permits), name
            assert _shown(row) != _shown(now), f"{name} was to be {move.effect} and is as it was"
    _ranks(plan, after)


def _ranks(plan: Plan, after: dict[str, tables.Session]) -> None:
    tiers = plan.policy.tiers
    for move in plan.of(Effect.DOWNGRADED):
        worse = move.before not in tiers or tiers.index(move.after) > tiers.index(move.before)
        assert worse or move.lost, move
        assert set(move.causes) <= {f["check"] for f in after[move.session].findings} | {"access"}
    for move in plan.of(Effect.RESTORED):
        better = move.before not in tiers or tiers.index(move.after) < tiers.index(move.before)
        assert better or move.gained, move
        assert not move.lost, move


def _shown(row: tables.Session) -> tuple[Any, ...]:
    failing = {(finding["check"], finding["effective"]) for finding in row.findings}
    return row.tier, [resource["name"] for resource in row.resources], row.permits, row.rate, failing
