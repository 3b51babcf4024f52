"""A replay reproduces every verdict bit for bit, and says of another policy what living through the same time under it gives."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmodel import select

from agent.wire import Fact, PostureReport
from gateway.access import courses, reevaluation, sessions
from gateway.access.courses import Part
from gateway.policy import record
from gateway.policy.engine import judgements
from gateway.policy.evidence import CONTRADICTIONS, ENDS, SKEW
from gateway.policy.load import loads
from gateway.policy.model import REPORT, Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question
from gateway.policy.record import Recorded
from gateway.policy.replay import Course, Replay, Replayer, replayed
from gateway.store import tables
from gateway.store.engine import open_engine, reading, writing
from gateway.store.migrate import upgrade
from tests.property import drawn_policy
from tests.property.drawn_policy import NOW
from tests.property.test_policy_differential import answers, who
from tests.sim.fleet import populate

HEARTBEAT = timedelta(minutes=5)
HOURS = 4
ENDING = {"access", "deny", "limits", "session", "signals", "windows", "networks"}
"""Parts of a policy that end sessions, or have to do with reach alone."""


def _document(chance: random.Random) -> dict[str, Any]:
    """A policy that denies nobody, so that the same sessions live through all of it, and does not look at late reports."""
    while True:
        made = drawn_policy.document(chance)
        if "report-age" not in json.dumps(made):
            made["tiers"] = drawn_policy.TIERS
            text = json.dumps(made["checks"]).replace('"otherwise": "denied"', '"otherwise": "quarantine"')
            lease = {"lease": "15m", "idle": "12h"}
            kept = {name: made[name] for name in made if name not in ENDING}
            return {**kept, "checks": json.loads(text), "session": lease}


def _policy(chance: random.Random) -> Policy:
    return loads(json.dumps(_document(chance)), "drawn.yaml")


@dataclass
class Life:
    """A gateway that devices report to, and what tier each had from when on."""

    engine: Any
    policy: Policy
    tiers: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)

    def tick(self, now: datetime) -> None:
        with writing(self.engine) as db:
            for name in reevaluation.due(db, self.policy, now=now):
                reevaluation.reevaluate(db, self.policy, name, now=now)
            self._note(db, now)

    def next_due(self) -> datetime | None:
        with reading(self.engine) as db:
            return reevaluation.next_due(db)

    def report(self, device: str, facts: dict[str, Any], now: datetime) -> None:
        with writing(self.engine) as db:
            session = sessions.live_session(db, device)
            assert session is not None
            said = {name: Fact(value, "test", now.timestamp()) for name, value in facts.items()}
            nonce = db.get(tables.Device, device).nonce
            report = PostureReport(session.id, session.sequence + 1, nonce, now.timestamp(), said)
            verified: Any = SimpleNamespace(report=report, device=device, issued_at=now)
            sessions.report(
                db, self.policy, device, verified, now=now, entropy=random.Random(now.timestamp()).randbytes
            )
            self._note(db, now)

    def _note(self, db: Any, now: datetime) -> None:
        for session in db.exec(select(tables.Session)).all():
            known = self.tiers.setdefault(session.device, [])
            if not known or known[-1][1] != session.tier:
                known.append((now, session.tier))


def _lived(folder: Path, name: str, policy: Policy, script: list[tuple[datetime, int, dict[str, Any]]]) -> Life:
    engine = open_engine(f"sqlite:///{folder}/{name}.db")
    upgrade(engine)
    life = Life(engine, policy)
    chance = random.Random(5)
    with writing(engine) as db:
        nobody: Iterator[tuple[None, list[str]]] = ((None, ["staff"]) for _ in range(4))
        populate(db, policy, nobody, now=NOW, chance=chance)
        devices = [row.id for row in db.exec(select(tables.Device).order_by(tables.Device.name)).all()]
    for at, number, facts in script:
        while (due := life.next_due()) is not None and due < at:
            life.tick(due)
        life.report(devices[number], facts, at)
    return life


def _script(chance: random.Random) -> list[tuple[datetime, int, dict[str, Any]]]:
    """Four devices report every five minutes; sometimes the facts are others than before."""
    facts = [_facts(chance) for _ in range(4)]
    script = []
    for beat in range(int(timedelta(hours=HOURS) / HEARTBEAT)):
        for number in range(4):
            if chance.random() < 0.1:
                facts[number] = _facts(chance)
            script.append((NOW + beat * HEARTBEAT + timedelta(seconds=number), number, facts[number]))
    return script


def _facts(chance: random.Random) -> dict[str, Any]:
    while (drawn := drawn_policy.device(chance).facts) is None:
        pass
    aged = {
        name: value + chance.randint(0, HOURS * 3600) if name.endswith("_at") and isinstance(value, float) else value
        for name, value in drawn.items()
    }
    return {name: value for name, value in aged.items() if value == value and value != float("inf")}


def _replay(life: Life, policy: Policy, until: datetime) -> Replay:
    with reading(life.engine) as db:
        return replayed(policy, courses.recorded(db, Part(), since=NOW, until=until), since=NOW, until=until)


def _lost(old: Life, new: Life, until: datetime) -> tuple[timedelta, timedelta]:
    """Compare the two lives second by second, from their notes alone."""
    lost = gained = timedelta()
    ranks = old.policy.tiers
    for device, before in old.tiers.items():
        after = new.tiers[device]
        instants = sorted({at for at, _ in [*before, *after]} | {until})
        for begin, end in itertools.pairwise(instants):
            was, now = (next(tier for at, tier in reversed(notes) if at <= begin) for notes in (before, after))
            lost += end - begin if ranks.index(now) > ranks.index(was) else timedelta()
            gained += end - begin if ranks.index(now) < ranks.index(was) else timedelta()
    return lost, gained


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_is_what_living_under_the_other_policy_gives(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    one, other, script = _policy(chance), _policy(chance), _script(chance)
    until = script[-1][0] + timedelta(seconds=1)
    old, new = _lived(tmp_path, "old", one, script), _lived(tmp_path, "new", other, script)
    same = _replay(old, one, until)
    assert same.verdicts["reproduced"] >= 20
    assert (same.verdicts["different"], same.lost, same.gained) == (0, timedelta(), timedelta())
    replay = _replay(old, other, until)
    assert (replay.lost, replay.gained) == _lost(old, new, until)
    assert sum((toll.lost for toll in replay.by_day.values()), timedelta()) == replay.lost
    if replay.lost:
        assert replay.downgraded
        assert replay.by_check
    assert replay.verdicts["of another policy"] == same.verdicts["reproduced"]
    for life in (old, new):
        life.engine.dispose()


class _Interpreter(Replayer):
    """Looks at every judgement to say when time could change something."""

    def _next(
        self, subject: Subject, posture: Posture, before: Mapping[str, datetime], *, now: datetime
    ) -> datetime | None:
        judged = judgements(self._policy, subject, posture, now=now, failing_since=before)
        others = [judgement for judgement in judged if judgement.check != REPORT]
        return min((at for one in others for at in self._instants(posture, one, now=now) if at > now), default=None)


def _course(policy: Policy, chance: random.Random, number: int) -> Course:
    at, steps, failing = NOW, [], {}
    while len(steps) < 3:
        drawn = drawn_policy.device(chance)
        subject, posture = who(drawn)
        if posture is not None:
            asked = Question(subject, replace(posture, received_at=at), at, failing, answers(drawn))
            decision = asked.answered(policy)
            failing = decision.failing_since
            tier = chance.choice(policy.tiers)
            steps.append(Recorded(f"t{number}{at}", f"s{number}", asked, tier, policy.version, record.digest(decision)))
            at += timedelta(seconds=chance.choice([59, 901, 7201, 100_000, 400_000]))
    return Course(f"s{number}", f"d{number}", "drawn", at, steps)


def test_the_compiled_policy_replays_as_the_interpreted_one_and_late_reports_count_for_nothing() -> None:
    chance, lost, aged = random.Random(8), timedelta(), 0
    for number in range(150):
        policy = loads(json.dumps(document := drawn_policy.document(chance)), "drawn.yaml")
        aged += "report-age" in json.dumps(document)
        one, other = (kind(policy, since=NOW, until=NOW + timedelta(days=30)) for kind in (Replayer, _Interpreter))
        for course in [_course(policy, chance, beside) for beside in range(6)]:
            one.take(course)
            other.take(course)
        assert one.result == other.result, f"policy {number}"
        assert one.result.verdicts["different"] == 0
        lost += one.result.lost
    assert lost
    assert aged > 30


def test_a_verdict_that_was_tampered_with_is_named(tmp_path: Path) -> None:
    chance = random.Random(3)
    policy, script = _policy(chance), _script(chance)[:40]
    life = _lived(tmp_path, "life", policy, script)
    with writing(life.engine) as db:
        row = db.exec(select(tables.History).where(tables.History.received_at != None)).first()  # noqa: E711
        assert row is not None
        row.question = {**row.question, "failing_since": dict.fromkeys(policy.checks, 1.0)}
        trace = row.trace
    assert trace in _replay(life, policy, script[-1][0]).differing
    life.engine.dispose()


def test_heartbeats_that_say_the_same_are_not_recorded(tmp_path: Path) -> None:
    policy = loads(
        json.dumps(
            {
                **_document(random.Random(1)),
                "checks": {"fw": {"check": "firewall", "enabled": True, "otherwise": "limited"}},
            }
        ),
        "p",
    )
    script = [
        (NOW + beat * HEARTBEAT, 0, {"firewall.enabled": beat < 20, "seen.clock_skew": beat}) for beat in range(40)
    ]
    life = _lived(tmp_path, "life", policy, script)
    with reading(life.engine) as db:
        rows = db.exec(select(tables.History).where(tables.History.received_at != None)).all()  # noqa: E711
    assert [(row.at, row.tier) for row in rows] == [(NOW, "full"), (NOW + 20 * HEARTBEAT, "limited")]
    assert set(rows[0].question["facts"]) == {"firewall.enabled", ENDS, SKEW, CONTRADICTIONS}
    assert rows[1].question["facts"]["firewall.enabled"]["value"] is False
    life.engine.dispose()
