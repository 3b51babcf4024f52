"""Two interpreters of one language agree on every policy, posture and subject, and on when time alone changes something."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.wire import Fact
from gateway.policy.engine import decide
from gateway.policy.load import loads
from gateway.policy.model import Decision, Posture, Subject
from gateway.policy.policy import Policy
from tests.property.drawn_policy import NOW, device, document
from tests.property.naive_policy import Answer, Device, interpret

POLICIES = 2_000
"""Policies in an ordinary run, in four parts. Raise it for a longer one: every part draws others."""
DEVICES = 50
"""Devices that each policy judges."""
PARTS = 4


def asked(policy: Policy, about: Device, now: datetime) -> Decision:
    posture = None
    if about.facts is not None:
        facts = {
            name: Fact(value, "drawn", 0.0, absent="drawn" if name in about.unreadable else None)
            for name, value in about.facts.items()
        }
        posture = Posture(facts, about.received_at, about.received_at)
    subject = Subject("drawn", frozenset(about.groups), about.device)
    return decide(policy, subject, posture, now=now, failing_since=about.failing_since)


def plain(decision: Decision) -> Answer:
    return Answer(
        decision.tier,
        {f.check: (f.tier, f.effective, f.since, f.grace_until) for f in decision.findings},
        set(decision.permits),
        set(decision.routes),
        decision.rate,
        dict(decision.failing_since),
    )


def shown(drawn: dict[str, Any], about: Device, now: datetime) -> str:
    return f"\n{json.dumps(drawn, indent=1)}\n{about}\n{now}"


@pytest.mark.parametrize("part", range(PARTS))
def test_two_interpreters_agree_on_every_policy_and_every_device(part: int) -> None:
    chance = random.Random(part)
    for _ in range(POLICIES // PARTS):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        for _ in range(DEVICES):
            about = device(chance)
            assert plain(asked(policy, about, NOW)) == interpret(drawn, about, NOW), shown(drawn, about, NOW)


@pytest.mark.parametrize("part", range(PARTS))
def test_by_the_other_interpreter_too_nothing_changes_before_valid_until(part: int) -> None:
    chance = random.Random(PARTS + part)
    for _ in range(POLICIES // PARTS // 4):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        for _ in range(DEVICES // 5):
            about = device(chance)
            decision = asked(policy, about, NOW)
            until = decision.valid_until or NOW + timedelta(days=30)
            about.failing_since = dict(decision.failing_since)
            before = interpret(drawn, about, NOW)
            for now in (NOW + (until - NOW) * chance.random(), until - timedelta(microseconds=1)):
                assert interpret(drawn, about, now) == before, shown(drawn, about, now)


def test_the_draws_reach_every_tier_every_kind_of_finding_and_every_answer() -> None:
    chance = random.Random(0)
    tiers, effects = set(), set()
    for _ in range(200):
        drawn = document(chance)
        answer = interpret(drawn, device(chance), NOW)
        tiers.add(answer.tier)
        effects |= {(effective, until is None) for _, effective, _, until in answer.findings.values()}
    assert tiers == {"full", "limited", "quarantine", "denied"}
    assert effects == {(True, True), (True, False), (False, True), (False, False)}
