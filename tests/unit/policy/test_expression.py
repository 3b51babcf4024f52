"""Conditions in CEL: typed when they are loaded, with the place of a fault; true or nothing when they are asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import PolicyError, Problem
from gateway.policy.engine import decide
from gateway.policy.load import loads
from gateway.policy.model import EvidenceGrade
from tests.unit.policy.laptop import ALICE, MISSING, NOW, POLICY, posture

PLAIN = POLICY[: POLICY.index("checks:")]


def policy_with(check: dict[str, Any]) -> str:
    return PLAIN + "checks:\n  it: " + json.dumps({"otherwise": "limited", **check}) + "\n"


def tier(check: dict[str, Any], **changes: Any) -> str:
    return decide(loads(policy_with(check), "p.yaml"), ALICE, posture(**changes), now=NOW).tier


def problem(text: str) -> Problem:
    with pytest.raises(PolicyError) as caught:
        loads(text, "p.yaml")
    (only,) = caught.value.problems
    return only


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("boot.tpm_present", True),
        ("boot.tpm_present && patches.pending <= 3", True),
        ("patches.pending < 3", False),
        ("!firewall.enabled", False),
        ("'root' in users.administrators", True),
        ("users.administrators.all(user, user in ['root', 'alice'])", True),
        ("files.sha256['/etc/ssh/sshd_config'].startsWith('ab')", True),
        ("files.sha256['/etc/shadow'] == 'x'", False),
        ("os.version.matches('^1[0-9]$')", True),
        ("os.version.matches('^(1')", False),
        ("antivirus.signatures_at > timestamp('2026-03-01T00:00:00Z')", True),
        ("patches.pending / 0 == 1", False),
        ("screen.lock_delay <= 300.0", True),
    ],
)
def test_only_what_is_true_passes(expression: str, passes: bool) -> None:
    assert (tier({"check": "expr", "expr": expression}) == "full") is passes


def test_a_fact_that_is_not_known_makes_the_answer_unknown_where_it_matters() -> None:
    assert tier({"check": "expr", "expr": "boot.tpm_present || firewall.enabled"}, boot__tpm_present=MISSING) == "full"
    assert (
        tier({"check": "expr", "expr": "boot.tpm_present && firewall.enabled"}, boot__tpm_present=MISSING) == "limited"
    )
    around = {"check": "not", "of": {"check": "expr", "expr": "boot.tpm_present"}}
    assert tier(around, boot__tpm_present=MISSING) == tier(around, boot__tpm_present="yes") == "limited"
    assert tier(around, boot__tpm_present=False) == "full"


@pytest.mark.parametrize(
    ("written", "points_at"),
    [
        ('"firewall.enabeld"', "firewall.enabeld"),
        ("firewall.enabled && boot.tmp_present", "boot.tmp_present"),
        ("'patches.pending < \"3\"'", "<"),
        ("|\n      firewall.enabled &&\n      boot.tmp_present", "boot.tmp_present"),
    ],
)
def test_a_fault_is_shown_in_its_line_at_its_column(written: str, points_at: str) -> None:
    found = problem(PLAIN + f"checks:\n  it:\n    check: expr\n    otherwise: limited\n    expr: {written}\n")
    # the engine points at the operator of a dotted name, or at what is wrong
    begin = found.source.index(points_at)
    assert begin <= found.column - 1 <= begin + len(points_at), (found, found.source)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("patches.pending + 1", "gives INT; allowed is what is true or false"),
        ("now > 3", "undeclared reference to 'now'"),
        ("firewall.enabled ==", "Syntax error"),
        ("1 < 'x'", "found no matching overload"),
        (
            "users.administrators.all(a, users.administrators.all(b, a == b))",
            "is a loop within a loop; allowed is one after another",
        ),
        ("true" + " && users.administrators.exists(a, a == 'x')" * 9, "has 9 loops; allowed are 8"),
        ("x" * 2001, "is not an expression; allowed is CEL of up to 2000 characters"),
        ("(" * 600 + "true" + ")" * 600, "recursion limit"),
        ("", "is not an expression"),
    ],
)
def test_what_is_no_condition_is_refused_when_it_is_loaded(expression: str, told: str) -> None:
    assert told in problem(policy_with({"check": "expr", "expr": expression})).text


def test_brackets_and_loops_within_texts_are_texts() -> None:
    assert (
        tier({"check": "expr", "expr": "os.version.matches('.*(all|x).*') || '.all(a, .all(' != os.version"}) == "full"
    )


@pytest.mark.parametrize("pattern", ["(", "a)|(b", "[", "(?=x)", "a{1001}", "", "x" * 501, r"\1"])
def test_what_is_no_pattern_of_re2_is_refused(pattern: str) -> None:
    assert "is not a pattern" in problem(policy_with({"check": "machine", "hostname": pattern})).text


def test_a_pattern_that_would_run_away_elsewhere_answers_at_once() -> None:
    evil = {"check": "machine", "hostname": "(a+)+b"}
    assert tier(evil, device__hostname="a" * 200) == "limited"
    assert tier(evil, device__hostname="a" * 199 + "b") == "full"


def test_evidence_below_what_counts_is_as_good_as_none() -> None:
    check = {"check": "antivirus", "running": True, "evidence": "vendor-confirmed"}
    policy = loads(policy_with(check), "p.yaml")
    signed = posture()
    confirmed = type(signed)(
        signed.facts, NOW, NOW, signed.grade, {"antivirus.running": EvidenceGrade.VENDOR_CONFIRMED}
    )
    decision = decide(policy, ALICE, signed, now=NOW)
    assert decision.findings[0].reason == "antivirus.running is only device-signed, and vendor-confirmed is required"
    assert decide(policy, ALICE, confirmed, now=NOW).tier == "full"


def test_evidence_is_demanded_of_the_facts_that_are_named_and_of_the_parts_of_a_check() -> None:
    named = {"check": "antivirus", "running": True, "realtime": True, "evidence": {"antivirus.realtime": "claimed"}}
    assert tier(named) == "full"
    around = {"check": "all-of", "of": [{"check": "boot", "tpm": True}], "evidence": "hardware-attested"}
    assert tier(around) == "limited"
    own = {
        "check": "all-of",
        "of": [{"check": "boot", "tpm": True, "evidence": "claimed"}],
        "evidence": "hardware-attested",
    }
    assert tier(own) == "full"


def test_evidence_for_a_fact_that_is_not_read_or_of_no_grade_is_refused() -> None:
    for evidence, told in (
        ({"firewall.enabled": "claimed"}, "has evidence for 'firewall.enabled', which it does not read"),
        ("certain", "is no grade of evidence; allowed are claimed, device-signed, vendor-confirmed, hardware-attested"),
    ):
        assert told in problem(policy_with({"check": "antivirus", "running": True, "evidence": evidence})).text


def test_tags_say_whom_a_check_concerns() -> None:
    policy = loads(
        policy_with({"check": "boot", "tpm": True, "tags": ["kiosk"]}) + f"tags: {{kiosk: [{'k' * 43}]}}\n", "p.yaml"
    )
    bad = posture(boot__tpm_present=False)
    kiosk = type(ALICE)("alice", frozenset(), "d", frozenset({"kiosk", "lobby"}))
    assert decide(policy, kiosk, bad, now=NOW).tier == "limited"
    assert decide(policy, ALICE, bad, now=NOW).tier == "full"
    assert decide(policy, type(ALICE)("alice", frozenset(), "k" * 43), bad, now=NOW).tier == "limited"
