"""A decision as a story: its facts, the fewest repairs for every better tier, and what time alone will do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from gateway.policy.engine import MAXIMUM_REPORT_AGE, decide
from gateway.policy.policy import Policy
from gateway.policy.story import Story, told
from tests.unit.policy.laptop import BOB, DAY, NOW, office, posture, unreadable

OFFICE = office()


def story(policy: Policy = OFFICE, **changes: Any) -> Story:
    return told(policy, BOB, posture(**changes), now=NOW)


def repairs(of: Story) -> dict[str, list[str]]:
    return {step.tier: [finding.check for finding in step.repairs] for step in of.better}


def test_the_decision_is_the_one_of_the_engine() -> None:
    spoiled = posture(firewall__enabled=False, patches__security_pending=3)
    since = {"patched": NOW - 4 * DAY}
    assert told(OFFICE, BOB, spoiled, now=NOW, failing_since=since).decision == decide(
        OFFICE, BOB, spoiled, now=NOW, failing_since=since
    )


def test_it_names_the_checks_that_passed_and_those_that_concern_others() -> None:
    policy = office(more="  mac: {check: firewall, enabled: true, otherwise: limited, platforms: [darwin]}\n")
    of = story(policy, firewall__enabled=False)
    assert (of.passed, of.unconcerned) == (["antivirus", "banned", "patched", "swap"], ["mac"])


def test_it_shows_the_facts_that_were_looked_at_readable_or_not() -> None:
    of = story(firewall__enabled=unreadable())
    assert set(of.facts) == {
        "antivirus.running", "antivirus.signatures_at", "disk.root_encrypted", "disk.swap_encrypted",
        "firewall.enabled", "patches.security_pending",
    }  # fmt: skip
    assert of.facts["firewall.enabled"].absent == "permission denied"


# --- what would be better ---


def test_every_better_tier_has_its_own_repairs() -> None:
    of = story(firewall__enabled=False, antivirus__running=False, disk__swap_encrypted=False)
    assert repairs(of) == {"limited": ["firewall"], "full": ["antivirus", "firewall"]}
    assert [step.gained for step in of.better] == [("wiki",), ("payroll", "wiki")]


def test_a_tier_that_no_repair_ends_at_is_not_promised() -> None:
    assert repairs(story(firewall__enabled=False)) == {"full": ["firewall"]}


def test_the_best_tier_needs_no_repairs_and_a_grace_none_yet() -> None:
    assert repairs(story()) == {}
    assert repairs(story(patches__security_pending=1)) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"firewall__enabled": False},
        {"firewall__enabled": False, "antivirus__running": False},
        {"antivirus__running": False, "disk__root_encrypted": False},
        {"firewall__enabled": False, "antivirus__running": False, "patches__security_pending": 1, "disk__root_encrypted": False},
    ],
)  # fmt: skip
def test_the_repairs_lead_where_they_are_said_to_lead_and_fewer_do_not(changes: dict[str, bool]) -> None:
    since = dict.fromkeys(OFFICE.checks, NOW - 30 * DAY)

    def tier(without: tuple[str, ...]) -> str:
        fewer = replace(OFFICE, checks={name: c for name, c in OFFICE.checks.items() if name not in without})
        return decide(fewer, BOB, posture(**changes), now=NOW, failing_since=since).tier

    of = told(OFFICE, BOB, posture(**changes), now=NOW, failing_since=since)
    assert of.better
    for step in of.better:
        names = tuple(finding.check for finding in step.repairs)
        assert tier(names) == step.tier
        for fewer in combinations(names, len(names) - 1):
            assert OFFICE.tiers.index(tier(fewer)) > OFFICE.tiers.index(step.tier)


# --- what comes next ---


def test_without_reports_it_ends_when_the_last_one_is_too_old() -> None:
    silent = story().silent
    assert silent is not None
    assert (silent.at, silent.tier) == (NOW + MAXIMUM_REPORT_AGE, "quarantine")
    assert silent.changes == (
        "report fails: the last report came 2026-03-01 12:00 UTC, which is 15m ago or more",
        "tier quarantine, without payroll, wiki",
    )


def test_what_hides_behind_a_report_that_grows_old_is_told_too() -> None:
    of = story(patches__security_pending=1, antivirus__signatures_at=(NOW - DAY).timestamp())
    assert [(event.at, event.tier, event.changes) for event in of.reporting] == [
        (
            NOW + 2 * DAY,
            "limited",
            (
                "antivirus fails: the antivirus signatures were made 2026-02-28 12:00 UTC, which is 3d ago or more",
                "tier limited, without payroll",
            ),
        ),
        (NOW + 3 * DAY, "limited", ("the grace of patched ends",)),
    ]


def test_a_grace_that_only_begins_later_is_told() -> None:
    policy = office(
        "signatures_max_age: 3d, otherwise: limited", "signatures_max_age: 3d, otherwise: denied, grace: 1d"
    )
    of = story(policy, antivirus__signatures_at=(NOW - 2 * DAY).timestamp())
    assert [(event.at, event.tier) for event in of.reporting] == [(NOW + DAY, "full"), (NOW + 2 * DAY, "denied")]


def test_an_age_below_any_of_is_told_at_its_time_although_it_stands_beside_the_age_of_the_report() -> None:
    policy = office(
        more="  odd: {check: all-of, otherwise: quarantine, of: [{check: report-age, max_age: 1m}, "
        "{check: patches, lists_max_age: 1d}]}\n"
    )
    of = story(policy, antivirus__signatures_at=(NOW + timedelta(minutes=1)).timestamp())
    assert of.reporting[0].at == NOW + timedelta(hours=18)
    assert of.reporting[0].tier == "quarantine"


def test_a_date_in_the_future_repairs_itself() -> None:
    of = story(antivirus__signatures_at=(NOW + timedelta(hours=1)).timestamp())
    assert (of.decision.tier, of.reporting[0].tier) == ("limited", "full")
    assert of.reporting[0].changes == ("antivirus passes", "tier full, with payroll")


def test_of_a_device_that_has_not_reported_there_is_nothing_to_foresee() -> None:
    of = told(OFFICE, BOB, None, now=NOW, failing_since={"patched": NOW - DAY})
    assert (of.better, of.silent, of.reporting, of.passed, dict(of.facts)) == ((), None, (), [], {})
