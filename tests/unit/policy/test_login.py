"""What a policy asks of the login behind a session, and what the provider's signals mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.errors import PolicyError
from gateway.policy.engine import decide
from gateway.policy.model import LOGIN, Decision, Finding, Signal, StepUp
from gateway.policy.policy import Policy
from tests.unit.policy.laptop import BOB, NOW, office, posture

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
GUARDED = ("tcp/5432]}", "tcp/5432], max_age: 1h, acr_values: [phr, phrh]}")


def judged(policy: Policy, *, age: timedelta | None, at: datetime = NOW, acr: str | None = None) -> Decision:
    authenticated_at = None if age is None else at - age
    subject = replace(BOB, authenticated_at=authenticated_at, acr=acr)
    return decide(policy, subject, replace(posture(), received_at=at), now=at)


def about_login(decision: Decision) -> list[Finding]:
    return [finding for finding in decision.findings if finding.check.startswith(LOGIN)]


@pytest.mark.parametrize(
    ("more", "tier"),
    [
        ("session: {reauthenticate: 2h}\n", "denied"),
        ("session: {reauthenticate: 2h, without_login: quarantine}\n", "quarantine"),
    ],
)
def test_a_login_that_is_too_old_leads_to_the_tier_that_the_policy_names(more: str, tier: str) -> None:
    policy = office(more=more)
    decision = judged(policy, age=2 * HOUR)
    assert decision.tier == tier
    assert [(f.check, f.effective, f.fix) for f in about_login(decision)] == [(LOGIN, True, "sallyport-agent login")]
    assert judged(policy, age=2 * HOUR - SECOND).tier == "full"


def test_the_user_is_warned_ten_and_two_minutes_before() -> None:
    policy = office(more="session: {reauthenticate: 2h, without_login: quarantine}\n")
    end = NOW + HOUR
    told: list[str] = []
    for left in (11, 10, 9, 3, 2, 1):
        decision = judged(policy, age=2 * HOUR - left * MINUTE)
        assert decision.tier == "full"
        told += [f"{left}: {finding.reason}" for finding in about_login(decision) if not finding.effective]
    assert told == [
        "10: log in again within 10m",
        "9: log in again within 10m",
        "3: log in again within 10m",
        "2: log in again within 2m",
        "1: log in again within 2m",
    ]
    for before in (10 * MINUTE, 2 * MINUTE, timedelta()):  # each is announced as the next instant of change
        decision = decide(
            policy,
            replace(BOB, authenticated_at=end - 2 * HOUR),
            replace(posture(), received_at=end - before - SECOND),
            now=end - before - SECOND,
        )
        assert decision.valid_until == end - before


def test_a_resource_that_asks_for_a_young_and_strong_login_is_closed_to_every_other() -> None:
    policy = office(*GUARDED)
    closed = (StepUp("payroll", HOUR, ("phr", "phrh")),)
    for age, acr in ((None, None), (None, "phr"), (HOUR, "phr"), (MINUTE, None), (MINUTE, "pwd"), (MINUTE, "")):
        decision = judged(policy, age=age, acr=acr)
        assert (decision.tier, decision.step_up) == ("full", closed), (age, acr)
        assert "payroll" not in decision.resources
        assert not any("10.20.5.0/24" in permit for permit in decision.permits)
    decision = judged(policy, age=HOUR - SECOND, acr="phrh")
    assert ("payroll" in decision.resources, decision.step_up) == (True, ())


def test_a_resource_that_is_about_to_close_is_announced_and_closes_at_its_instant() -> None:
    policy = office(*GUARDED)
    young = judged(policy, age=MINUTE, acr="phr")
    assert (about_login(young), young.valid_until) == ([], min(young.valid_until or NOW, NOW + 49 * MINUTE))
    late = judged(policy, age=51 * MINUTE, acr="phr")
    assert [(f.check, f.effective, f.fix) for f in about_login(late)] == [
        ("login:payroll", False, "sallyport-agent login --for payroll")
    ]
    assert late.valid_until == NOW + 7 * MINUTE
    assert judged(policy, age=59 * MINUTE, acr="phr").valid_until == NOW + MINUTE
    assert "payroll" not in judged(policy, age=60 * MINUTE, acr="phr").resources


def test_a_resource_that_the_tier_does_not_grant_asks_for_no_login() -> None:
    policy = office(*GUARDED)
    decision = decide(policy, replace(BOB, authenticated_at=NOW), posture(firewall__enabled=False), now=NOW)
    assert (decision.tier, decision.step_up) == ("quarantine", ())


@pytest.mark.parametrize(
    ("signal", "more", "tier"),
    [
        (Signal.CREDENTIAL_CHANGE, "", "denied"),
        (Signal.CREDENTIAL_CHANGE, "session: {without_login: limited}\n", "limited"),
        (Signal.CREDENTIAL_CHANGE, "signals: {credential_change: quarantine}\n", "quarantine"),
        (Signal.NOT_COMPLIANT, "", "quarantine"),
        (Signal.NOT_COMPLIANT, "signals: {not_compliant: limited}\n", "limited"),
        (Signal.MEDIUM_RISK, "", "full"),
        (Signal.MEDIUM_RISK, "signals: {medium_risk: limited}\n", "limited"),
        (Signal.HIGH_RISK, "", "quarantine"),
        (Signal.HIGH_RISK, "signals: {high_risk: denied}\n", "denied"),
    ],
)
def test_a_signal_leads_to_the_tier_that_the_policy_names(signal: Signal, more: str, tier: str) -> None:
    policy = office(more=more)
    decision = decide(policy, replace(BOB, signals=frozenset({signal})), posture(), now=NOW)
    assert decision.tier == tier
    assert [f.check for f in decision.findings] == ([signal] if tier != "full" else [])
    later = decide(policy, replace(BOB, signals=frozenset({signal})), posture(), now=NOW + HOUR, failing_since=decision.failing_since)  # fmt: skip
    assert [f.since for f in later.findings if f.check == signal] == ([NOW] if tier != "full" else [])


def test_of_several_signals_the_worst_counts() -> None:
    policy = office(more="signals: {medium_risk: limited}\n")
    both = frozenset({Signal.MEDIUM_RISK, Signal.NOT_COMPLIANT})
    assert decide(policy, replace(BOB, signals=both), posture(), now=NOW).tier == "quarantine"


@pytest.mark.parametrize("name", ["login", "report", "high-risk"])
def test_the_names_of_these_findings_are_no_names_for_checks(name: str) -> None:
    with pytest.raises(PolicyError, match=f"checks.{name}: is the name of the finding about"):
        office("  swap:", f"  {name}:")
