"""From findings to a tier and from a tier to what is reached: grace, the worst finding, grants, absence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.wire import Fact
from gateway.policy.checks import Check, Outcome
from gateway.policy.checks.ask import Screen
from gateway.policy.checks.examination import Least
from gateway.policy.document import Grant
from gateway.policy.engine import MAXIMUM_REPORT_AGE, decide
from gateway.policy.model import REPORT, Decision, Finding, Posture, Subject
from gateway.policy.policy import Policy
from tests.unit.policy.laptop import (
    ALICE,
    BOB,
    DAY,
    HEALTHY,
    NOW,
    SECOND,
    STRANGER,
    office,
    posture,
    reported,
    unreadable,
)

OFFICE = office()


class Device:
    """A device that is judged again and again, as the gateway does it: what is failing is kept between.

    Its antivirus is renewed all the time.
    """

    def __init__(self, policy: Policy = OFFICE, subject: Subject = BOB) -> None:
        self._policy, self._subject = policy, subject
        self._failing_since: dict[str, datetime] = {}

    def judged(self, at: datetime, **changes: Any) -> Decision:
        looked_at = posture(at, antivirus__signatures_at=at.timestamp(), **changes)
        decision = decide(self._policy, self._subject, looked_at, now=at, failing_since=self._failing_since)
        self._failing_since = dict(decision.failing_since)
        return decision


def judged(subject: Subject = BOB, policy: Policy = OFFICE, **changes: Any) -> Decision:
    return decide(policy, subject, posture(**changes), now=NOW)


def names(decision: Decision) -> list[str]:
    return [finding.check for finding in decision.findings]


def test_a_healthy_device_has_the_best_tier_and_no_findings() -> None:
    decision = judged()
    assert (decision.tier, decision.findings, decision.failing_since) == ("full", (), {})
    assert (decision.policy_version, decision.evaluated_at) == (OFFICE.version, NOW)


def test_the_worst_tier_among_the_findings_wins() -> None:
    assert judged(antivirus__running=False).tier == "limited"
    assert judged(antivirus__running=False, firewall__enabled=False).tier == "quarantine"
    assert judged(firewall__enabled=False).tier == "quarantine"


def test_a_finding_says_why_where_it_leads_since_when_and_what_to_do() -> None:
    (finding,) = judged(firewall__enabled=False).findings
    assert finding == Finding(
        check="firewall",
        reason="the firewall is off: connections from outside are accepted unless a rule forbids them",
        tier="quarantine",
        effective=True,
        since=NOW,
        grace_until=None,
        fix="sudo ufw enable",
        evidence={"firewall.enabled": posture(firewall__enabled=False).facts["firewall.enabled"]},
    )


def test_several_reasons_of_one_check_are_one_finding() -> None:
    (finding,) = judged(antivirus__running=False, antivirus__signatures_at=unreadable("no such file")).findings
    assert finding.reason == "the antivirus is not running; antivirus.signatures_at could not be read: no such file"


def test_a_check_that_only_warns_is_shown_and_changes_nothing() -> None:
    decision = judged(disk__swap_encrypted=False)
    assert (decision.tier, names(decision)) == ("full", ["swap"])
    assert not decision.findings[0].effective


def test_an_empty_report_fails_every_check() -> None:
    decision = decide(OFFICE, BOB, reported({}), now=NOW)
    assert names(decision) == sorted(OFFICE.checks)
    assert decision.tier == "quarantine"


def test_a_device_that_has_not_reported_has_the_worst_tier_of_a_session_and_not_that_of_lost_reports() -> None:
    policy = office(more="session: {without_report: limited}\n")
    for decision in (decide(OFFICE, BOB, None, now=NOW), decide(policy, BOB, None, now=NOW)):
        assert (decision.tier, names(decision), decision.valid_until) == ("quarantine", [REPORT], None)
        assert decision.resources == ("remediation",)


def test_no_report_begins_no_grace_and_forgets_none() -> None:
    decision = decide(OFFICE, BOB, None, now=NOW, failing_since={"patched": NOW - DAY, "gone": NOW - DAY})
    assert decision.failing_since == {"patched": NOW - DAY, REPORT: NOW}


@pytest.mark.parametrize(
    ("more", "tier"),
    [
        ("", "quarantine"),
        ("session: {without_report: limited}\n", "limited"),
        ("session: {without_report: denied}\n", "denied"),
    ],
)
def test_reports_that_stop_coming_lead_to_the_tier_that_the_policy_names(more: str, tier: str) -> None:
    policy = office(more=more)
    last = NOW + MAXIMUM_REPORT_AGE
    before = decide(policy, BOB, posture(), now=last - SECOND)
    assert (before.tier, before.valid_until) == ("full", last)
    after = decide(policy, BOB, posture(), now=last)
    assert (after.tier, names(after), after.findings[0].since) == (tier, [REPORT], last)
    assert after.findings[0].fix == "start the agent: sudo systemctl start sallyport-agent"


class Broken(Check):
    """A check with a mistake that shows only when it judges."""

    def reads(self) -> list[str]:
        return []

    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        raise ZeroDivisionError

    def screen(self, least: Least = None) -> Screen:
        def broken(_facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            raise ZeroDivisionError

        return broken


def test_a_kind_of_check_that_judges_nothing_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="evaluate"):
        Check(otherwise="limited")  # type: ignore[abstract]


def test_a_check_that_breaks_fails() -> None:
    policy = replace(OFFICE, checks={**OFFICE.checks, "broken": Broken(otherwise="limited")})
    decision = judged(policy=policy)
    assert (decision.tier, names(decision)) == ("limited", ["broken"])
    assert decision.findings[0].reason == "the check could not be evaluated (ZeroDivisionError)"


# --- grace ---


def test_a_grace_counts_from_the_first_failure_and_ends_by_itself() -> None:
    device = Device()
    first = device.judged(NOW, patches__security_pending=1)
    (finding,) = first.findings
    assert (first.tier, finding.effective, finding.grace_until) == ("full", False, NOW + 3 * DAY)
    later = device.judged(NOW + 2 * DAY, patches__security_pending=9)
    assert (later.findings[0].since, later.findings[0].grace_until) == (NOW, NOW + 3 * DAY)
    assert device.judged(NOW + 3 * DAY - SECOND, patches__security_pending=9).tier == "full"
    over = device.judged(NOW + 3 * DAY, patches__security_pending=9)
    assert (over.tier, over.findings[0].effective, over.findings[0].since) == ("limited", True, NOW)


def test_a_decision_says_when_a_grace_will_end_it() -> None:
    policy = office("signatures_max_age: 3d, ", "")
    decision = decide(
        policy, BOB, posture(patches__security_pending=1), now=NOW, failing_since={"patched": NOW - 3 * DAY + SECOND}
    )
    assert (decision.tier, decision.valid_until) == ("full", NOW + SECOND)


def test_flapping_does_not_restart_a_grace() -> None:
    device = Device()
    for hour in range(71):
        assert device.judged(NOW + timedelta(hours=hour), patches__security_pending=(hour + 1) % 2).tier == "full"
    assert device.judged(NOW + timedelta(hours=72), patches__security_pending=1).tier == "limited"


def test_a_check_that_recovered_past_its_grace_has_a_new_one() -> None:
    device = Device()
    device.judged(NOW, patches__security_pending=1)
    assert device.judged(NOW + 3 * DAY).failing_since == {}
    again = device.judged(NOW + 4 * DAY, patches__security_pending=1)
    assert (again.tier, again.findings[0].since) == ("full", NOW + 4 * DAY)


def test_a_check_without_grace_that_recovers_is_forgotten_at_once() -> None:
    device = Device()
    assert device.judged(NOW, firewall__enabled=False).failing_since == {"firewall": NOW}
    assert device.judged(NOW + SECOND).failing_since == {}
    assert device.judged(NOW + 2 * SECOND, firewall__enabled=False).findings[0].since == NOW + 2 * SECOND


def test_a_failure_that_is_said_to_begin_in_the_future_begins_now() -> None:
    decision = decide(
        OFFICE, BOB, posture(patches__security_pending=1), now=NOW, failing_since={"patched": NOW + 300 * DAY}
    )
    assert decision.findings[0].since == NOW


def test_no_report_does_not_let_a_grace_begin_in_the_future_either() -> None:
    decision = decide(OFFICE, BOB, None, now=NOW, failing_since={"patched": NOW + DAY, REPORT: NOW + DAY})
    assert decision.failing_since == {"patched": NOW, REPORT: NOW}


def test_the_worst_tier_can_have_a_grace_too() -> None:
    device = Device()
    assert device.judged(NOW, disk__root_encrypted=False).tier == "full"
    denied = device.judged(NOW + 7 * DAY, disk__root_encrypted=False)
    assert denied.tier == "denied"


# --- what is reached ---


def test_what_is_reached_is_the_union_of_the_grants_of_all_groups_at_the_tier() -> None:
    assert judged(BOB).resources == ("payroll", "remediation", "wiki")
    assert judged(ALICE).resources == ("remediation", "wiki")
    assert judged(STRANGER).resources == ("remediation",)
    assert judged(BOB, antivirus__running=False).resources == ("remediation", "wiki")
    assert judged(BOB, firewall__enabled=False).resources == ("remediation",)


def test_permits_are_those_of_the_resources_sorted_and_each_once() -> None:
    assert judged(BOB).permits == (
        "10.20.0.10/32 tcp/443",
        "10.20.5.0/24 tcp/443",
        "10.20.5.0/24 tcp/5432",
        "10.20.9.0/28 tcp/80",
    )


def test_the_last_tier_reaches_nothing() -> None:
    decision = decide(
        OFFICE, BOB, posture(disk__root_encrypted=False), now=NOW, failing_since={"banned": NOW - 7 * DAY}
    )
    assert (decision.tier, decision.resources, decision.permits) == ("denied", (), ())


def test_the_last_tier_reaches_nothing_even_if_a_grant_names_it() -> None:
    grant = Grant(groups=["everyone"], tier="denied", resources=["wiki"])
    policy = replace(OFFICE, access=(grant,))
    decision = decide(
        policy, BOB, posture(disk__root_encrypted=False), now=NOW, failing_since={"banned": NOW - 7 * DAY}
    )
    assert (decision.tier, decision.resources, decision.permits) == ("denied", (), ())


def test_nothing_is_granted_by_default() -> None:
    policy = office("  - {groups: [everyone], tier: quarantine, resources: [remediation]}\n", "")
    decision = judged(STRANGER, policy)
    assert (decision.tier, decision.resources, decision.permits, decision.routes) == ("full", (), (), ())


def test_a_policy_without_access_rules_grants_nothing() -> None:
    policy = office(office_access(), "")
    assert judged(BOB, policy).permits == ()


def office_access() -> str:
    return """access:
  - {groups: [staff],    tier: limited,    resources: [wiki]}
  - {groups: [finance],  tier: full,       resources: [payroll, wiki]}
  - {groups: [everyone], tier: quarantine, resources: [remediation]}
"""


def test_routes_stay_the_same_while_the_tier_changes() -> None:
    everywhere = ("10.20.0.10/32", "10.20.5.0/24", "10.20.9.0/28")
    assert judged(BOB).routes == judged(BOB, firewall__enabled=False).routes == everywhere


def test_a_group_is_a_whole_name_and_not_a_part_of_one() -> None:
    assert judged(Subject("mallory", frozenset({"financ", "finance-guests", "Finance"}), "x")).resources == (
        "remediation",
    )


def test_of_several_limits_the_lowest_counts_and_none_means_no_limit() -> None:
    policy = office(more="limits:\n- {groups: [staff], rate: 20Mbit}\n- {groups: [finance], rate: 512kbit}\n")
    assert [judged(who, policy).rate for who in (BOB, ALICE, STRANGER)] == [512_000, 20_000_000, None]


# --- when it could change ---


def test_a_decision_says_the_first_instant_at_which_time_alone_could_change_it() -> None:
    signed = NOW - 3 * DAY + timedelta(seconds=90)
    assert judged(antivirus__signatures_at=signed.timestamp()).valid_until == NOW + timedelta(seconds=90)
    assert judged().valid_until == NOW + MAXIMUM_REPORT_AGE


def test_a_platform_of_the_wrong_type_has_no_fix_and_breaks_nothing() -> None:
    (finding,) = judged(firewall__enabled=False, os__family=["linux"]).findings
    assert finding.fix is None
    assert HEALTHY["os.family"] == "linux"
