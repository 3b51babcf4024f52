"""Every kind of check: what passes, what fails and why, what is missing, unreadable or of the wrong type, and every age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.wire import Fact
from gateway.policy.checks import FACTS, KINDS, AnyCheck, Check, Outcome
from gateway.policy.checks.check import MOST
from gateway.policy.checks.examination import CLOCK_SKEW, LATEST
from gateway.policy.model import Posture
from tests.unit.policy.laptop import DAY, HEALTHY, MISSING, NOW, SECOND, posture, reported, unreadable

_CHECK: TypeAdapter[Check] = TypeAdapter(AnyCheck)

# Each asks for everything that its kind can ask for.
WHOLE: Mapping[str, Mapping[str, Any]] = {
    "agent-version": {"minimum": "0.1"},
    "antivirus": {"running": True, "signatures_max_age": "3d", "products": ["clamav", "defender"]},
    "disk-encryption": {"root": True, "home": True, "swap": True},
    "firewall": {"enabled": True, "products": ["ufw", "nftables"]},
    "os-version": {"minimum": {"debian": "12", "ubuntu": "22.04", "darwin": "14", "windows": ">= 10.0, < 12"}},
    "patches": {"security_pending": 0, "pending": 10, "lists_max_age": "7d"},
    "report-age": {"max_age": "60s"},
}
READ = [(kind, name) for kind in KINDS for name in KINDS[kind].facts]
KIND_OF: Mapping[str, str] = {
    "antivirus.signatures_at": "a time in Unix seconds",
    "patches.lists_updated_at": "a time in Unix seconds",
    "patches.pending": f"a whole number up to {MOST}",
    "patches.security_pending": f"a whole number up to {MOST}",
    **{name: "true or false" for name in FACTS if name.endswith(("running", "enabled", "encrypted"))},
    **{name: "a short text" for name in FACTS if name.endswith(("version", "product", "family", "distribution"))},
}


def check(kind: str, **changes: Any) -> Check:
    return _CHECK.validate_python({"check": kind, "otherwise": "limited", **WHOLE[kind], **changes})


def only(kind: str, **asked: Any) -> Check:
    return _CHECK.validate_python({"check": kind, "otherwise": "limited", **asked})


def judged(kind: str, now: datetime = NOW, **changes: Any) -> Outcome:
    return check(kind).evaluate(posture(**changes), now=now)


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_device_passes(kind: str) -> None:
    assert judged(kind).reasons == ()


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("agent-version", {"agent__version": "0.0.9"}, "the agent's version is 0.0.9, and >= 0.1 is required"),
        ("agent-version", {"agent__version": "0.1~rc1"}, "the agent's version is 0.1~rc1, and >= 0.1 is required"),
        ("agent-version", {"agent__version": "newest"}, "the agent's version is 'newest', which is not a version"),
        ("antivirus", {"antivirus__running": False}, "the antivirus is not running"),
        ("antivirus", {"antivirus__product": "snake-oil"}, "the antivirus is snake-oil, and only clamav, defender are accepted"),
        ("firewall", {"firewall__enabled": False}, "the firewall is off: connections from outside are accepted unless a rule forbids them"),
        ("firewall", {"firewall__product": "pf"}, "the firewall is pf, and only nftables, ufw are accepted"),
        ("disk-encryption", {"disk__root_encrypted": False}, "the root volume is not encrypted"),
        ("disk-encryption", {"disk__home_encrypted": False}, "the home volume is not encrypted"),
        ("disk-encryption", {"disk__swap_encrypted": False}, "the swap volume is not encrypted"),
        ("os-version", {"os__version": "11"}, "the version of debian is 11, and >= 12 is required"),
        ("os-version", {"os__version": "trixie/sid"}, "the version of debian is 'trixie/sid', which is not a version"),
        ("os-version", {"os__distribution": "arch"}, "the system is arch, and only darwin, debian, ubuntu, windows are accepted"),
        ("os-version", {"os__family": "plan9"}, "the system is plan9, and only darwin, debian, ubuntu, windows are accepted"),
        ("os-version", {"os__family": "windows", "os__version": "12"}, "the version of windows is 12, and >= 10.0, < 12 is required"),
        ("patches", {"patches__security_pending": 1}, "1 security updates are pending, and 0 are allowed"),
        ("patches", {"patches__pending": 11}, "11 updates are pending, and 10 are allowed"),
    ],
)  # fmt: skip
def test_what_is_wrong_fails_with_its_reason(kind: str, changes: dict[str, Any], reason: str) -> None:
    assert judged(kind, **changes).reasons == (reason,)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("agent-version", {"agent__version": "0.1"}),
        ("agent-version", {"agent__version": "0.10"}),
        ("antivirus", {"antivirus__product": "defender"}),
        ("os-version", {"os__version": "12.0"}),
        ("os-version", {"os__distribution": "ubuntu", "os__version": "22.04"}),
        ("os-version", {"os__family": "darwin", "os__distribution": MISSING, "os__version": "14.0"}),
        ("os-version", {"os__family": "windows", "os__distribution": MISSING, "os__version": "11.9"}),
        ("patches", {"patches__pending": 10}),
    ],
)
def test_what_is_just_good_enough_passes(kind: str, changes: dict[str, Any]) -> None:
    assert judged(kind, **changes).reasons == ()


def test_every_reason_is_given_and_not_only_the_first() -> None:
    outcome = judged("disk-encryption", disk__root_encrypted=False, disk__swap_encrypted=MISSING)
    assert outcome.reasons == ("the root volume is not encrypted", "disk.swap_encrypted was not reported")


@pytest.mark.parametrize(("kind", "name"), READ)
def test_a_fact_that_was_not_reported_fails(kind: str, name: str) -> None:
    assert check(kind).evaluate(reported({**HEALTHY, name: MISSING}), now=NOW).reasons == (f"{name} was not reported",)


@pytest.mark.parametrize(("kind", "name"), READ)
def test_a_fact_that_could_not_be_read_fails_with_the_devices_reason(kind: str, name: str) -> None:
    outcome = check(kind).evaluate(reported({**HEALTHY, name: unreadable("no\x1b[2J such\nfile")}), now=NOW)
    assert outcome.reasons == (f"{name} could not be read: no [2J such file",)


@pytest.mark.parametrize(("kind", "name"), READ)
def test_a_fact_that_could_not_be_read_has_no_value_whatever_is_sent_along(kind: str, name: str) -> None:
    lying = Fact(HEALTHY[name], "test", NOW.timestamp(), absent="")
    outcome = check(kind).evaluate(reported({**HEALTHY, name: lying}), now=NOW)
    assert outcome.reasons == (f"{name} could not be read: no reason given",)


WRONG: Mapping[str, list[Any]] = {
    "true or false": [1, 0, "true", "", None, [], [True], {}, 1.0],
    "a short text": [True, 12, 12.5, "", None, [], ["12"], {}, "x" * 201, "a\nb", "\x1b[2J"],
    f"a whole number up to {MOST}": [True, False, -1, MOST + 1, 0.0, 1.5, "0", None, [], {}, float("nan"), float("inf")],
    "a time in Unix seconds": [True, 0, -1, LATEST, "2026-03-01", "1772366400", None, [], {}, float("nan"), float("inf")],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), READ)
def test_a_fact_of_the_wrong_type_fails(kind: str, name: str) -> None:
    for value in WRONG[KIND_OF[name]]:
        outcome = check(kind).evaluate(reported({**HEALTHY, name: value}), now=NOW)
        assert outcome.reasons == (f"{name} was reported as something other than {KIND_OF[name]}",), value


AGES = [("antivirus", "antivirus.signatures_at", 3 * DAY), ("patches", "patches.lists_updated_at", 7 * DAY)]


@pytest.mark.parametrize(("kind", "name", "limit"), AGES)
def test_an_age_ends_exactly_at_its_limit_and_says_so_before(kind: str, name: str, limit: timedelta) -> None:
    at = NOW - limit
    young = reported({**HEALTHY, name: (at + SECOND).timestamp()})
    assert check(kind).evaluate(young, now=NOW).reasons == ()
    assert check(kind).evaluate(young, now=NOW).changes_at == NOW + SECOND
    assert len(check(kind).evaluate(young, now=NOW + SECOND).reasons) == 1
    old = check(kind).evaluate(reported({**HEALTHY, name: at.timestamp()}), now=NOW)
    assert old.reasons[0].endswith(f"{at:%Y-%m-%d %H:%M} UTC, which is {limit.days}d ago or more")
    assert old.changes_at is None


@pytest.mark.parametrize(("kind", "name", "limit"), AGES)
def test_a_date_in_the_future_proves_nothing_beyond_the_error_of_a_clock(
    kind: str, name: str, limit: timedelta
) -> None:
    near = reported({**HEALTHY, name: (NOW + CLOCK_SKEW).timestamp()})
    assert check(kind).evaluate(near, now=NOW).reasons == ()
    far = reported({**HEALTHY, name: (NOW + CLOCK_SKEW + SECOND).timestamp()})
    outcome = check(kind).evaluate(far, now=NOW)
    assert outcome.reasons[0].endswith("UTC, which lies in the future")
    assert outcome.changes_at == NOW + SECOND
    assert check(kind).evaluate(far, now=NOW + SECOND).reasons == ()


def test_a_report_ends_exactly_at_its_age_by_the_gateways_clock() -> None:
    report = Posture(posture().facts, observed_at=NOW + DAY, received_at=NOW)
    last = NOW + timedelta(seconds=60)
    assert check("report-age").evaluate(report, now=last - SECOND).reasons == ()
    assert check("report-age").evaluate(report, now=last - SECOND).changes_at == last
    assert check("report-age").evaluate(report, now=last).reasons == (
        "the last report came 2026-03-01 12:00 UTC, which is 1m ago or more",
    )


class _Watched(Mapping[str, Fact]):
    """Facts that remember which of them were asked for."""

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        self._facts = facts
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Fact:
        self.asked.add(name)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a check asks for facts by their names")

    def __len__(self) -> int:
        return len(self._facts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_reads_the_facts_that_it_declares_and_shows_them_as_evidence(kind: str) -> None:
    facts = _Watched(posture().facts)
    outcome = check(kind).evaluate(Posture(facts, NOW, NOW), now=NOW)
    assert facts.asked == set(KINDS[kind].facts) == set(outcome.evidence)


@pytest.mark.parametrize(
    ("kind", "asked", "silent"),
    [
        ("antivirus", {"running": True}, {"antivirus.signatures_at", "antivirus.product"}),
        ("antivirus", {"signatures_max_age": "1d"}, {"antivirus.running", "antivirus.product"}),
        ("firewall", {"products": ["ufw"]}, {"firewall.enabled"}),
        ("disk-encryption", {"home": True}, {"disk.root_encrypted", "disk.swap_encrypted"}),
        ("patches", {"pending": 10}, {"patches.security_pending", "patches.lists_updated_at"}),
    ],
)
def test_what_a_policy_does_not_ask_for_is_not_judged(kind: str, asked: dict[str, Any], silent: set[str]) -> None:
    without = reported({name: value for name, value in HEALTHY.items() if name not in silent})
    assert only(kind, **asked).evaluate(without, now=NOW).reasons == ()


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_knows_a_fix_for_every_platform(kind: str) -> None:
    for platform in ("linux", "darwin", "windows"):
        fix = check(kind).fix_for(platform, judged(kind).values)
        assert fix is not None, platform
        assert "$" not in fix, platform


def test_the_policys_own_fix_comes_before_the_known_one_and_falls_back_by_platform() -> None:
    own = check("firewall", fix={"linux": "sudo ufw enable"})
    assert own.fix_for("linux", {}) == "sudo ufw enable"
    assert own.fix_for("darwin", {}) == KINDS["firewall"].default_fixes["darwin"]
    assert check("firewall", fix="call 4711").fix_for("plan9", {}) == "call 4711"
    assert own.fix_for(None, {}) is None


def test_a_fix_is_filled_in_from_the_policy_and_keeps_the_dollars_of_a_shell() -> None:
    own = check("patches", fix="install $security_pending updates: awk '{print $1}' $HOME")
    values = judged("patches", patches__security_pending=4).values
    assert own.fix_for("linux", values) == "install 4 updates: awk '{print $1}' $HOME"


def test_no_word_of_the_device_gets_into_a_fix() -> None:
    outcome = judged("os-version", os__version="11; curl evil", os__distribution="debian")
    assert set(outcome.values.values()) == {"darwin >= 14, debian >= 12, ubuntu >= 22.04, windows >= 10.0, < 12"}
