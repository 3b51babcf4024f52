"""Two interpreters of one language agree on every policy, posture and subject, and on when time alone changes something."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import pytest

from agent.wire import Fact
from gateway.packet.permits import PROTOCOLS, Permit, Permits
from gateway.policy.checks.ask import ALWAYS
from gateway.policy.engine import decide, interpreted, judgements, outlook
from gateway.policy.judgement import Judgement
from gateway.policy.load import loads
from gateway.policy.model import REPORT, Answers, Decision, EvidenceGrade, Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.story import MOST_EVENTS, told
from tests.property.drawn_policy import DENIABLE, NOW, PROBES, device, document, some, whom
from tests.property.naive_policy import GRADES, Answer, Device, Probe, interpret

POLICIES = 2_000
"""Policies in an ordinary run, in four parts. Raise it for a longer one: every part draws others."""
DEVICES = 50
"""Devices that each policy judges."""
PARTS = 4


def who(about: Device) -> tuple[Subject, Posture | None]:
    subject = Subject(
        "drawn",
        frozenset(about.groups),
        about.device,
        tags=frozenset(about.tags),
        address=about.address,
        country=about.country,
    )
    if about.facts is None:
        return subject, None
    facts = {
        name: Fact(value, "drawn", 0.0, absent="drawn" if name in about.unreadable else None)
        for name, value in about.facts.items()
    }
    grades = {name: EvidenceGrade(GRADES.index(grade) + 1) for name, grade in about.grades.items()}
    return subject, Posture(facts, about.received_at, about.received_at, grades=grades)


def answers(about: Device) -> Answers:
    return {name: tuple(sorted(found)) for name, found in about.names.items()}


def asked(policy: Policy, about: Device, now: datetime) -> Decision:
    return decide(policy, *who(about), now=now, failing_since=about.failing_since, answers=answers(about))


@lru_cache(maxsize=100_000)
def reached(permits: tuple[str, ...]) -> frozenset[Probe]:
    compiled = Permits(map(Permit.parse, permits))
    return frozenset(
        (address, protocol, port)
        for address, protocol, port in PROBES
        if compiled.allow(ip_address(address).packed, PROTOCOLS[protocol], port)
    )


def plain(decision: Decision) -> Answer:
    return Answer(
        decision.tier,
        {f.check: (f.tier, f.effective, f.since, f.grace_until) for f in decision.findings},
        set(reached(decision.permits)),
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
            assert plain(asked(policy, about, NOW)) == interpret(drawn, about, NOW, PROBES), shown(drawn, about, NOW)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_compiled_policy_decides_as_the_interpreted_one_to_the_letter(part: int) -> None:
    chance = random.Random(4 * PARTS + part)
    for _ in range(POLICIES // PARTS // 4):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        for _ in range(DEVICES // 5):
            about = device(chance)
            subject, posture = who(about)
            known = about.failing_since
            for now in (NOW, NOW + timedelta(hours=chance.uniform(0, 200))):
                expected = interpreted(policy, subject, posture, now=now, failing_since=known, answers=answers(about))
                found = decide(policy, subject, posture, now=now, failing_since=known, answers=answers(about))
                assert found == expected, shown(drawn, about, now)


def test_the_outlook_is_that_of_all_judgements_but_the_report() -> None:
    chance = random.Random(5 * PARTS)
    for _ in range(POLICIES // 20):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        wanted, endless = (
            set(chance.sample(names, chance.randint(0, 2) % (len(names) + 1))) for names in [[*policy.checks]] * 2
        )
        for _ in range(DEVICES // 5):
            about = device(chance)
            subject, posture = who(about)
            if posture is None:
                continue
            now, known = NOW + timedelta(hours=chance.choice([0, 1, 50])), about.failing_since
            every = {j.check: j for j in judgements(policy, subject, posture, now=now, failing_since=known)}
            del every[REPORT]
            looked, soonest = outlook(
                policy, subject, posture, now=now, failing_since=known, judged=wanted, endless=endless
            )
            found = {judgement.check: judgement for judgement in looked}
            assert all(every[name] == judgement for name, judgement in found.items())
            assert found.keys() >= wanted | {name for name, judgement in every.items() if judgement.finding is not None}
            assert _soonest(found, endless, soonest) == _soonest(every, endless), shown(drawn, about, now)


def _soonest(judged: dict[str, Judgement], endless: set[str], soonest: datetime = ALWAYS) -> datetime:
    ends = (one.changes_at for name, one in judged.items() if name not in endless)
    return min((soonest, *(at for at in ends if at is not None)))


@pytest.mark.parametrize("part", range(PARTS))
def test_another_deny_a_grant_less_and_another_order_never_reach_more(part: int) -> None:
    chance = random.Random(5 * PARTS + part)
    for _ in range(POLICIES // PARTS // 8):
        drawn = document(chance)
        more = {**drawn, "deny": [*drawn.get("deny", []), {**whom(chance), "resources": some(chance, DENIABLE)}]}
        fewer = {**drawn, "access": [grant for grant in drawn["access"] if chance.random() < 0.7]}
        other = {
            key: chance.sample(value, len(value)) if key in ("access", "deny", "limits") else value
            for key, value in drawn.items()
        }
        policies = [loads(json.dumps(one), "drawn.yaml") for one in (drawn, more, fewer, other)]
        assert policies[3].version == policies[0].version
        for _ in range(DEVICES // 5):
            about = device(chance)
            whole, denied, less, again = (asked(policy, about, NOW) for policy in policies)
            assert reached(denied.permits) <= reached(whole.permits), shown(more, about, NOW)
            assert reached(less.permits) <= reached(whole.permits), shown(drawn, about, NOW)
            assert again == whole, shown(drawn, about, NOW)
            assert denied.tier == less.tier == whole.tier


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
            before = interpret(drawn, about, NOW, PROBES)
            for now in (NOW + (until - NOW) * chance.random(), until - timedelta(microseconds=1)):
                assert interpret(drawn, about, now, PROBES) == before, shown(drawn, about, now)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_repairs_of_a_story_are_enough_and_none_of_them_is_too_much(part: int) -> None:
    chance = random.Random(2 * PARTS + part)
    for _ in range(POLICIES // PARTS // 4):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        about = device(chance)
        about.received_at = NOW
        for step in told(
            policy, *who(about), now=NOW, failing_since=about.failing_since, answers=answers(about)
        ).better:
            names = {finding.check for finding in step.repairs}
            assert interpret(without(drawn, names), about, NOW).tier == step.tier, shown(drawn, about, NOW)
            for name in names:
                left = interpret(without(drawn, names - {name}), about, NOW).tier
                assert policy.tiers.index(left) > policy.tiers.index(step.tier), shown(drawn, about, NOW)


def without(drawn: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {**drawn, "checks": {name: check for name, check in drawn["checks"].items() if name not in names}}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_story_foretells_what_the_other_interpreter_says_when_its_time_has_come(part: int) -> None:
    chance = random.Random(3 * PARTS + part)
    for _ in range(POLICIES // PARTS // 4):
        drawn = document(chance)
        policy = loads(json.dumps(drawn), "drawn.yaml")
        about = device(chance)
        about.received_at = NOW
        story = told(policy, *who(about), now=NOW, failing_since=about.failing_since, answers=answers(about))
        if len(story.reporting) == MOST_EVENTS:
            continue
        foretold = {NOW: story.decision.tier} | {event.at: event.tier for event in story.reporting}
        moments = {NOW + timedelta(seconds=chance.uniform(0, 5 * 86400)) for _ in range(5)}
        before = {at - timedelta(microseconds=1) for at in foretold if at > NOW}
        tier = story.decision.tier
        for at in sorted({*foretold, *moments, *before}):
            about.received_at = at
            answer = interpret(drawn, about, at)
            about.failing_since = answer.failing_since
            tier = foretold.get(at, tier)
            assert answer.tier == tier, shown(drawn, about, at)


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
