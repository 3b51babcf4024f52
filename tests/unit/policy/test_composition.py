"""Checks made of checks: what holds, what fails, what cannot be told, why, what would repair it, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.wire import Fact
from gateway.policy.checks import AnyCheck, Check, Outcome
from gateway.policy.checks.description import described
from gateway.policy.engine import decide
from gateway.policy.model import LONGEST_TEXT, Posture
from tests.unit.policy.laptop import BOB, DAY, MISSING, NOW, SECOND, office, posture, unreadable

_CHECK: TypeAdapter[Check] = TypeAdapter(AnyCheck)

FIREWALL = {"check": "firewall", "enabled": True}
RUNNING = {"check": "antivirus", "running": True}
DISK = {"check": "disk-encryption", "root": True}
FRESH = {"check": "antivirus", "signatures_max_age": "3d"}
LISTS = {"check": "patches", "lists_max_age": "7d"}
SNAKE_OIL = {"check": "antivirus", "products": ["snake-oil"]}
OFF = "the firewall is off: connections from outside are accepted unless a rule forbids them"


def check(kind: str, of: Any, **keys: Any) -> Check:
    return _CHECK.validate_python({"check": kind, "of": of, "otherwise": "limited", **keys})


def looked(kind: str, of: Any, now: datetime = NOW, **changes: Any) -> Outcome:
    return check(kind, of).evaluate(posture(**changes), now=now)


def test_any_of_holds_when_one_holds() -> None:
    assert looked("any-of", [FIREWALL, RUNNING]).reasons == ()
    assert looked("any-of", [FIREWALL, RUNNING], firewall__enabled=False).reasons == ()
    assert looked("any-of", [FIREWALL, RUNNING], antivirus__running=MISSING).reasons == ()


def test_any_of_tells_everything_that_would_have_been_enough_in_any_order() -> None:
    told = f"antivirus (running), but the antivirus is not running; or firewall (enabled), but {OFF}"
    for of in ([FIREWALL, RUNNING], [RUNNING, FIREWALL], [RUNNING, FIREWALL, RUNNING]):
        assert looked("any-of", of, firewall__enabled=False, antivirus__running=False).reasons == (
            f"one of these would be enough: {told}",
        )


def test_all_of_holds_when_every_one_holds_and_tells_each_that_does_not() -> None:
    assert looked("all-of", [FIREWALL, RUNNING]).reasons == ()
    assert looked("all-of", [FIREWALL, RUNNING], firewall__enabled=False).reasons == (OFF,)
    both = looked("all-of", [FIREWALL, RUNNING], firewall__enabled=False, antivirus__running=False)
    assert both.reasons == ("the antivirus is not running", OFF)


def test_not_holds_when_the_check_is_known_not_to_hold() -> None:
    assert looked("not", SNAKE_OIL).reasons == ()
    told = ("this must not be so, and is: antivirus (products snake-oil)",)
    assert looked("not", SNAKE_OIL, antivirus__product="snake-oil").reasons == told


UNTOLD = [MISSING, unreadable(), 5, None, "", [], Fact("clamav", "x", 0.0, absent="lying")]


@pytest.mark.parametrize("value", UNTOLD)
def test_not_does_not_hold_for_what_cannot_be_told(value: Any) -> None:
    (reason,) = looked("not", SNAKE_OIL, antivirus__product=value).reasons
    assert reason.startswith(
        "this must not be so, and cannot be told: antivirus (products snake-oil): antivirus.product "
    )


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        ({"check": "os-version", "minimum": {"debian": "13"}}, {"os__version": "rolling"}),
        ({"check": "os-version", "minimum": {"debian": "13"}}, {"os__distribution": MISSING}),
        ({"check": "agent-version", "minimum": "9"}, {"agent__version": "newest"}),
        (FRESH, {"antivirus__signatures_at": (NOW + DAY).timestamp()}),
    ],
)
def test_a_version_or_a_date_that_proves_nothing_does_not_prove_the_contrary(of: Any, changes: dict[str, Any]) -> None:
    assert len(looked("not", of, **changes).reasons) == 1


def test_two_nots_are_not_a_way_around_absence() -> None:
    twice = {"check": "not", "of": RUNNING}
    assert looked("not", twice).reasons == ()
    assert looked("not", twice, antivirus__running=False).reasons
    assert looked("not", twice, antivirus__running=MISSING).reasons


@pytest.mark.parametrize(
    ("kind", "firewall", "antivirus", "holds"),
    [
        ("any-of", False, False, True),
        ("any-of", False, MISSING, False),
        ("any-of", True, MISSING, False),
        ("any-of", MISSING, MISSING, False),
        ("all-of", False, MISSING, True),
        ("all-of", False, True, True),
        ("all-of", True, MISSING, False),
        ("all-of", MISSING, MISSING, False),
    ],
)
def test_what_is_around_several_is_known_not_to_hold_only_if_no_missing_fact_could_change_it(
    kind: str, firewall: Any, antivirus: Any, holds: bool
) -> None:
    of = {"check": kind, "of": [FIREWALL, RUNNING]}
    outcome = looked("not", of, firewall__enabled=firewall, antivirus__running=antivirus)
    assert (outcome.reasons == ()) is holds


def test_they_nest() -> None:
    healthy_or_encrypted = [{"check": "all-of", "of": [FIREWALL, RUNNING]}, DISK]
    assert looked("any-of", healthy_or_encrypted, firewall__enabled=False).reasons == ()
    (reason,) = looked("any-of", healthy_or_encrypted, firewall__enabled=False, disk__root_encrypted=False).reasons
    assert reason == (
        f"one of these would be enough: all-of (antivirus (running) and firewall (enabled)), but {OFF}; "
        "or disk-encryption (root), but the root volume is not encrypted"
    )


def test_the_evidence_is_what_the_parts_looked_at() -> None:
    outcome = looked("any-of", [FIREWALL, {"check": "not", "of": SNAKE_OIL}])
    assert set(outcome.evidence) == {"firewall.enabled", "antivirus.product"}


# --- time ---

SIGNED = NOW - 3 * DAY + timedelta(hours=1)
LISTED = NOW - 7 * DAY + timedelta(hours=2)
AGES = {"antivirus__signatures_at": SIGNED.timestamp(), "patches__lists_updated_at": LISTED.timestamp()}


@pytest.mark.parametrize(
    ("kind", "of", "hours"),
    [
        ("any-of", [FRESH, LISTS], 2),
        ("any-of", [FRESH, LISTS, FIREWALL], None),
        ("all-of", [FRESH, LISTS], 1),
        ("all-of", [FRESH, FIREWALL], 1),
        ("not", {"check": "not", "of": FRESH}, 1),
        ("any-of", [{"check": "all-of", "of": [FRESH, LISTS]}, {"check": "not", "of": RUNNING}], 1),
    ],
)
def test_what_holds_holds_for_as_long_as_its_parts_let_it(kind: str, of: Any, hours: int | None) -> None:
    outcome = looked(kind, of, **AGES)
    ends = None if hours is None else NOW + timedelta(hours=hours)
    assert (outcome.reasons, outcome.changes_at) == ((), ends)
    if ends is not None:
        assert looked(kind, of, ends - SECOND, **AGES).reasons == ()
        assert looked(kind, of, ends, **AGES).reasons != ()


def test_what_must_not_be_so_may_end_by_itself() -> None:
    outcome = looked("not", FRESH, **AGES)
    assert (len(outcome.reasons), outcome.changes_at) == (1, SIGNED + 3 * DAY)
    assert looked("not", FRESH, SIGNED + 3 * DAY, **AGES).reasons == ()


# --- fixes ---


def fix(kind: str, of: Any, keys: Mapping[str, Any] | None = None, **changes: Any) -> str | None:
    made = check(kind, of, **(keys or {}))
    look = posture(firewall__enabled=False, antivirus__running=False, disk__root_encrypted=False, **changes)
    return made.fix_for("linux", made.evaluate(look, now=NOW).values)


def test_a_fix_is_made_of_those_of_the_parts() -> None:
    of = [{**FIREWALL, "fix": {"linux": "ufw enable"}}, {**RUNNING, "fix": "start $1"}]
    assert fix("any-of", of) == "start $1; or ufw enable"
    assert fix("all-of", of) == "start $1; and ufw enable"
    nested = [{"check": "all-of", "of": of}, {**DISK, "fix": "reinstall"}]
    assert fix("any-of", nested) == "reinstall; or start $1; and ufw enable"


def test_the_fix_of_the_whole_comes_before_those_of_its_parts() -> None:
    assert fix("any-of", [FIREWALL, RUNNING], {"fix": {"linux": "call 4711"}}) == "call 4711"
    assert (fix("any-of", [FIREWALL], {"fix": {"darwin": "call 4711"}}) or "").startswith("turn the firewall on")


def test_a_part_that_holds_needs_no_fix_and_a_not_has_none_of_its_own() -> None:
    lists = {**LISTS, "fix": "apt update"}
    assert fix("all-of", [{**FIREWALL, "fix": "ufw enable"}, lists]) == "ufw enable"
    assert fix("not", {"check": "patches", "security_pending": 0}) is None


def test_remedies_that_are_together_too_long_for_an_agent_are_left_out_and_not_cut() -> None:
    parts = [{**FIREWALL, "fix": c * 900} for c in "abc"]
    assert fix("any-of", parts) is None
    assert fix("any-of", parts[:2]) == "a" * 900 + "; or " + "b" * 900


def test_a_reason_is_never_longer_than_an_agent_reads() -> None:
    names = ", ".join(f"{letter * 900}" for letter in "abcd")
    policy = office(more=f"  long: {{check: firewall, products: [{names}], otherwise: limited}}\n")
    (finding,) = decide(policy, BOB, posture(), now=NOW).findings
    assert len(finding.reason) == LONGEST_TEXT
    assert finding.reason.endswith("…")


def test_a_description_is_short_and_says_what_is_asked() -> None:
    ages = {"check": "os-version", "minimum": {"debian": ">= 12, < 14", "darwin": "14"}}
    assert described(_part(ages)) == "os-version (minimum darwin >= 14, debian >= 12, < 14)"
    assert described(_part({"check": "patches", "pending": 0, "lists_max_age": "7d"})) == (
        "patches (pending 0, lists_max_age 7d)"
    )
    assert len(described(_part({"check": "firewall", "products": ["x" * 1000]}))) == 160


def _part(asked: dict[str, Any]) -> Check:
    return _CHECK.validate_python({**asked, "warn": True})


class _Breaking(dict[str, Fact]):
    """Facts of which one cannot even be looked at."""

    def get(self, name: str, default: Any = None) -> Any:
        if name == "firewall.enabled":
            raise RuntimeError(name)
        return super().get(name, default)


@pytest.mark.parametrize("kind", ["any-of", "all-of", "not"])
def test_a_part_that_breaks_fails_the_whole(kind: str) -> None:
    of = "{check: firewall, enabled: true}"
    policy = office(
        more=f"  odd: {{check: {kind}, of: {of if kind == 'not' else [f'{of}']}, otherwise: denied}}\n".replace("'", "")
    )
    broken = Posture(_Breaking(posture().facts), NOW, NOW)
    decision = decide(policy, BOB, broken, now=NOW)
    assert decision.tier == "denied"
    (finding,) = [finding for finding in decision.findings if finding.check == "odd"]
    assert finding.reason == "the check could not be evaluated (RuntimeError)"
