"""Whom a check concerns: platforms, groups, devices; everybody without them; and nobody escapes by saying nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway.policy.engine import decide, judgements
from gateway.policy.model import Posture, Subject
from gateway.policy.policy import Policy
from tests.unit.policy.laptop import BOB, DAY, MISSING, NOW, SECOND, fact, office, posture, unreadable

LAPTOP = "A" * 43
OTHER = "b" * 43


def only(concern: str, *, grace: str = "") -> Policy:
    """An office in which a firewall that is off fails one more check, of whom `concern` says."""
    return office(more=f"  more: {{check: firewall, enabled: true, otherwise: denied{grace}, {concern}}}\n")


def found(policy: Policy, subject: Subject = BOB, **changes: Any) -> bool:
    looked_at = posture(**{"firewall__enabled": False, **changes})
    return "more" in [finding.check for finding in decide(policy, subject, looked_at, now=NOW).findings]


@pytest.mark.parametrize(
    ("family", "concerned"),
    [
        ("linux", True),
        ("windows", True),
        ("darwin", False),
        ("plan9", True),
        ("Linux", True),
        ("", True),
        (MISSING, True),
        (unreadable(), True),
        (["darwin"], True),
        (None, True),
    ],
)
def test_a_platform_that_is_named_or_not_known_is_concerned(family: Any, concerned: bool) -> None:
    assert found(only("platforms: [linux, windows]"), os__family=family) is concerned


def test_a_platform_that_could_not_be_read_is_not_known_whatever_is_sent_along() -> None:
    said = unreadable()
    lying = type(said)("darwin", said.source, said.observed_at, absent="no")
    assert found(only("platforms: [linux]"), os__family=lying)


@pytest.mark.parametrize(
    ("groups", "concerned"), [({"finance"}, True), ({"staff", "finance"}, True), ({"staff"}, False), (set(), False)]
)
def test_a_group_that_is_named_is_concerned(groups: set[str], concerned: bool) -> None:
    assert found(only("groups: [finance, legal]"), Subject("x", frozenset(groups), "d")) is concerned


def test_everyone_is_every_subject() -> None:
    assert found(only("groups: [everyone]"), Subject("x", frozenset(), "d"))


@pytest.mark.parametrize(("device", "concerned"), [(LAPTOP, True), (OTHER, False)])
def test_a_device_that_is_named_is_concerned(device: str, concerned: bool) -> None:
    assert found(only(f"devices: [{LAPTOP}]"), Subject("x", frozenset(), device)) is concerned


@pytest.mark.parametrize(
    ("groups", "device", "family", "concerned"),
    [
        ("staff", LAPTOP, "linux", True),
        ("other", LAPTOP, "linux", False),
        ("staff", OTHER, "linux", False),
        ("staff", LAPTOP, "darwin", False),
    ],
)
def test_whoever_is_among_all_that_are_named_is_concerned(
    groups: str, device: str, family: str, concerned: bool
) -> None:
    policy = only(f"platforms: [linux], groups: [staff], devices: [{LAPTOP}]")
    assert found(policy, Subject("x", frozenset({groups}), device), os__family=family) is concerned


def test_a_check_without_the_keys_concerns_everybody() -> None:
    assert found(only("link: https://example.com/why"))


def test_a_check_that_does_not_concern_a_device_reads_nothing_and_never_changes() -> None:
    policy = office(more="  more: {check: report-age, max_age: 10s, otherwise: denied, groups: [legal]}\n")
    judged = {j.check: j for j in judgements(policy, BOB, posture(), now=NOW)}
    assert (judged["more"].concerned, judged["more"].changes_at, judged["more"].evidence) == (False, None, {})
    assert judged["firewall"].concerned
    assert judged["firewall"].evidence == {"firewall.enabled": fact(True)}


def test_to_be_another_platform_for_a_while_does_not_restart_a_grace() -> None:
    policy = only("platforms: [linux]", grace=", grace: 3d")
    first = decide(policy, BOB, posture(firewall__enabled=False), now=NOW)
    away = NOW + DAY
    elsewhere = Posture(posture(os__family="darwin").facts, away, away)
    second = decide(policy, BOB, elsewhere, now=away, failing_since=first.failing_since)
    assert second.failing_since == {"more": NOW}
    back = NOW + 3 * DAY
    again = posture(back, firewall__enabled=False, antivirus__signatures_at=back.timestamp())
    third = decide(policy, BOB, again, now=back, failing_since=second.failing_since)
    assert third.tier == "denied"
    assert decide(policy, BOB, again, now=back - SECOND, failing_since=second.failing_since).tier == "quarantine"


def test_a_device_that_is_not_concerned_forgets_when_the_grace_would_have_ended() -> None:
    policy = only("platforms: [linux]", grace=", grace: 3d")
    before = {"more": NOW - 3 * DAY + timedelta(minutes=1)}
    decision = decide(policy, BOB, posture(os__family="darwin"), now=NOW, failing_since=before)
    assert decision.failing_since == before
    assert decision.valid_until == NOW + timedelta(minutes=1)
    later = decide(
        policy, BOB, posture(os__family="darwin"), now=NOW + timedelta(minutes=1), failing_since=decision.failing_since
    )
    assert later.failing_since == {}


# --- what findings carry ---


def test_a_finding_carries_who_answers_for_it_and_where_its_reason_is_written_down() -> None:
    policy = office(
        "swap: true, warn: true",
        "swap: true, otherwise: limited, severity: explicit, owner: it@example.com, link: https://wiki.example.com/swap",
    )
    (finding,) = decide(policy, BOB, posture(disk__swap_encrypted=False), now=NOW).findings
    assert (finding.owner, finding.link) == ("it@example.com", "https://wiki.example.com/swap")
    assert (finding.explicit, finding.effective, finding.grace_until) == (True, True, None)


def test_a_finding_without_them_says_nothing_about_them() -> None:
    (finding,) = decide(office(), BOB, posture(disk__swap_encrypted=False), now=NOW).findings
    assert (finding.explicit, finding.owner, finding.link) == (False, None, None)
