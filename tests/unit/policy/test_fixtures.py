"""Fixtures: read as strictly as policies, and a wrong expectation is told from a right one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.errors import PolicyError
from gateway.policy.checks import FACTS
from gateway.policy.load import loads
from gateway.policy.reach import Destination, overlap
from gateway.policy.suite import fixtures_beside, load_fixtures
from gateway.policy.trial import Trial, hold, shown
from tests.unit.policy.laptop import POLICY

OFFICE = loads(POLICY, "office.yaml")
HEALTHY = """postures:
  healthy:
    os.family: linux
    firewall.enabled: true
    antivirus.running: true
    antivirus.signatures_at: {ago: 1h}
    patches.security_pending: 0
    disk.root_encrypted: true
    disk.swap_encrypted: true
"""
GOOD = (
    HEALTHY
    + """fixtures:
  - name: one
    user: {name: bob, groups: [finance]}
    posture: healthy
    but: {disk.swap_encrypted: false}
    at: 2026-03-01T12:00:00Z
    report_age: 5s
    failing_for: {patched: 4d}
    expect: {tier: full, findings: [swap], reachable: [payroll, 10.20.5.9 tcp/443], unreachable: [10.20.5.9 icmp]}
"""
)


def written(folder: Path, *texts: str) -> Path:
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text)
    return folder


def trials(folder: Path, *texts: str) -> list[Trial]:
    return [hold(OFFICE, case) for case in load_fixtures(written(folder, *texts), OFFICE)]


def trial(folder: Path, fixture: str) -> Trial:
    """Try one fixture of bob, who is in finance."""
    (done,) = trials(folder, HEALTHY + f"fixtures:\n- {{name: x, user: {{name: bob, groups: [finance]}}, {fixture}}}\n")
    return done


def problems(folder: Path, *texts: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_fixtures(written(folder, *texts), OFFICE)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def but(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_a_fixture_that_says_what_the_policy_decides_passes(tmp_path: Path) -> None:
    (done,) = trials(tmp_path, GOOD)
    assert done.differences == ()
    assert done.passed


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("report_age:", "reportage:", "0.yaml:16:5: fixtures.0.reportage: is not a key; allowed are name, user, posture, expect, but, device, names, evidence, at, report_age, failing_for"),
        ("tier: full", "teir: full", "0.yaml:18:14: fixtures.0.expect.teir: is not a key; allowed are tier, findings, reachable, unreachable"),
        ("name: bob", "nmae: bob", "0.yaml:12:12: fixtures.0.user.nmae: is not a key; allowed are name, groups, tags, address, country, logged_in, acr"),
        ("{ago: 1h}", "{agoo: 1h}", "0.yaml:6:31: postures.healthy.antivirus.signatures_at.agoo: is not a key; allowed are ago, ahead, exactly, unreadable, missing"),
        ("{ago: 1h}", "{}", "0.yaml:6:30: postures.healthy.antivirus.signatures_at: needs one of ago, ahead, exactly, unreadable and missing"),
        ("{ago: 1h}", "{ago: 1h, missing: true}", "0.yaml:6:30: postures.healthy.antivirus.signatures_at: needs one of ago, ahead, exactly, unreadable and missing"),
        ("{ago: 1h}", "[1]", "0.yaml:6:30: postures.healthy.antivirus.signatures_at: must be a text, a number, true, false, a list of texts, or one of {ago: 2h}, {ahead: 2h}, {exactly: …}, {unreadable: why}, {missing: true}"),
        ("{ago: 1h}", "", "0.yaml:6:29: has no value; allowed is to give it one, or to leave the key out"),
        ("firewall.enabled", "firewall.enable", f"0.yaml:4:5: postures.healthy.firewall.enable: 'firewall.enable' is no fact that a check reads; allowed are {', '.join(FACTS)}"),
        ("posture: healthy", "posture: heathly", "0.yaml:13:14: fixtures.0.posture: 'heathly' is no posture; allowed are healthy, none"),
        ("tier: full", "tier: fulll", "0.yaml:18:20: fixtures.0.expect.tier: 'fulll' is no tier; allowed are full, limited, quarantine, denied"),
        ("[swap]", "[swop]", "0.yaml:18:37: fixtures.0.expect.findings.0: 'swop' is no check; allowed are report, antivirus, banned, firewall, patched, swap"),
        ("{patched: 4d}", "{patcht: 4d}", "0.yaml:17:27: fixtures.0.failing_for.patcht: 'patcht' is no check; allowed are report, antivirus, banned, firewall, patched, swap"),
        ("[payroll,", "[payrol,", "0.yaml:18:56: fixtures.0.expect.reachable.0: 'payrol' is no resource; allowed are payroll, remediation, wiki, or a destination such as 10.20.0.10 tcp/443"),
        ("10.20.5.9 icmp", "10.20.5.9 tcp", "0.yaml:18:99: fixtures.0.expect.unreachable.0: '10.20.5.9 tcp' is no destination; allowed is for example 10.20.0.10 tcp/443 or 10.20.0.10 icmp"),
        ("10.20.5.9 icmp", "10.20.5.999 icmp", "0.yaml:18:99: fixtures.0.expect.unreachable.0: '10.20.5.999 icmp' is no destination; it does not begin with an IP address"),
        ("posture: healthy", "posture: none", "0.yaml:14:5: fixtures.0.but: changes nothing here; allowed beside a posture that is named"),
        ("posture: healthy", "posture: {}", "0.yaml:14:5: fixtures.0.but: changes nothing here; allowed beside a posture that is named"),
        ("  healthy:", "  none:", "0.yaml:2:3: 'none' is also the name of no report at all; allowed is once"),
        ("2026-03-01T12:00:00Z", "2026-03-01 12:00", "0.yaml:15:9: fixtures.0.at: '2026-03-01 12:00' is not a time; allowed is UTC, for example 2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00Z", "2026-02-30T12:00:00Z", "0.yaml:15:9: fixtures.0.at: '2026-02-30T12:00:00Z' is not a time; there is no such day or hour"),
        ("    posture: healthy\n", "", "0.yaml:11:5: fixtures.0: needs the key posture"),
        ("name: one", "name: &a one", "0.yaml:11:11: has an anchor; allowed is to write it out"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_fixture_file_is_shown_at_its_place(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problem in problems(tmp_path, but(old, new))


def test_a_folder_without_fixtures_is_an_error(tmp_path: Path) -> None:
    nothing = "holds no fixtures; a policy without fixtures is not tested"
    assert problems(tmp_path, HEALTHY) == [f"{tmp_path}:1:1: {nothing}"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert problems(empty) == [f"{empty}:1:1: holds 0 fixture files; allowed are 1 to 256 named *.yaml"]
    assert "0.yaml:1:11: fixtures: has 0 entries; allowed are 1 or more" in problems(tmp_path, "fixtures: []\n")


def test_postures_of_one_file_are_known_in_another_and_names_stand_for_one_thing(tmp_path: Path) -> None:
    rest = GOOD.removeprefix(HEALTHY)
    assert [done.passed for done in trials(tmp_path, rest, HEALTHY)] == [True]
    assert problems(tmp_path, GOOD, GOOD) == [
        f"1.yaml:2:3: 'healthy' is also in {tmp_path}/0.yaml:2; allowed is once",
        f"1.yaml:11:11: 'one' is also in {tmp_path}/0.yaml:11; allowed is once",
    ]


@pytest.mark.parametrize(
    ("fixture", "differences"),
    [
        ("posture: healthy, expect: {tier: limited}", ["tier: expected limited, computed full"]),
        ("posture: healthy, expect: {tier: full, findings: [swap]}", ["findings: expected swap, computed none"]),
        ("posture: healthy, but: {disk.swap_encrypted: false}, expect: {tier: full, findings: []}", ["findings: expected none, computed swap"]),
        ("posture: none, expect: {tier: quarantine, reachable: [payroll]}", ["reachable: payroll is not reached"]),
        ("posture: healthy, expect: {tier: full, reachable: [10.20.5.1 udp/443]}", ["reachable: 10.20.5.1 udp/443 is not reached"]),
        ("posture: healthy, expect: {tier: full, unreachable: [payroll]}", ["unreachable: payroll is reached"]),
        ("posture: healthy, expect: {tier: full, unreachable: [10.20.5.255 tcp/5432]}", ["unreachable: 10.20.5.255 tcp/5432 is reached"]),
        ("posture: none, expect: {tier: full, findings: [], reachable: [wiki]}", ["tier: expected full, computed quarantine", "findings: expected none, computed report", "reachable: wiki is not reached"]),
    ],
)  # fmt: skip
def test_every_expectation_that_does_not_hold_is_named(tmp_path: Path, fixture: str, differences: list[str]) -> None:
    assert list(trial(tmp_path, fixture).differences) == differences


@pytest.mark.parametrize(
    ("fixture", "tier"),
    [
        ("posture: healthy, but: {firewall.enabled: {missing: true}}", "quarantine"),
        ("posture: healthy, but: {firewall.enabled: {unreadable: no nft}}", "quarantine"),
        ("posture: healthy, but: {antivirus.signatures_at: {ago: 259199s}}", "full"),
        ("posture: healthy, but: {antivirus.signatures_at: {ago: 3d}}", "limited"),
        ("posture: healthy, but: {antivirus.signatures_at: 1767222000}", "full"),
        ("posture: healthy, but: {antivirus.signatures_at: 1767222000}, at: 2026-06-01T00:00:00Z", "limited"),
        ("posture: healthy, but: {patches.security_pending: 1}", "full"),
        ("posture: healthy, but: {patches.security_pending: 1}, failing_for: {patched: 259199s}", "full"),
        ("posture: healthy, but: {patches.security_pending: 1}, failing_for: {patched: 3d}", "limited"),
        ("posture: healthy, report_age: 899s", "full"),
        ("posture: healthy, report_age: 15m", "quarantine"),
        ("posture: {}", "quarantine"),
        ("posture: none", "quarantine"),
    ],
)
def test_a_fixture_stands_for_the_posture_that_it_describes(tmp_path: Path, fixture: str, tier: str) -> None:
    assert trial(tmp_path, f"{fixture}, expect: {{tier: {tier}}}").differences == ()


def test_an_unreadable_fact_carries_its_reason_into_the_finding(tmp_path: Path) -> None:
    done = trial(tmp_path, "posture: healthy, but: {firewall.enabled: {unreadable: no nft}}, expect: {tier: full}")
    assert shown(done.decision)["findings"][0]["reason"] == "firewall.enabled could not be read: no nft"


def test_a_fixture_may_name_its_device(tmp_path: Path) -> None:
    device = "x" * 43
    policy = loads(
        POLICY + f"  one: {{check: firewall, enabled: true, otherwise: denied, devices: [{device}]}}\n", "o.yaml"
    )
    one = f"fixtures:\n- {{name: x, user: {{name: bob}}, posture: {{}}, device: {device}, expect: {{tier: denied}}}}\n"
    other = "- {name: y, user: {name: bob}, posture: {}, expect: {tier: quarantine}}\n"
    cases = load_fixtures(written(tmp_path, one + other), policy)
    assert [hold(policy, case).differences for case in cases] == [(), ()]


def test_a_fixture_is_judged_at_the_same_instant_on_every_day(tmp_path: Path) -> None:
    assert trial(tmp_path, "posture: none, expect: {tier: full}").decision.evaluated_at == datetime(
        2026, 1, 1, tzinfo=UTC
    )


def test_a_resource_that_is_reached_under_another_name_is_not_out_of_reach(tmp_path: Path) -> None:
    wide = POLICY.replace("  wiki:  ", "  lan: {destinations: [10.20.0.0/16], ports: [tcp/1-1024]}\n  wiki:  ").replace(
        "[wiki]}", "[wiki, lan]}"
    )
    policy = loads(wide, "office.yaml")
    text = HEALTHY + (
        "fixtures:\n- name: x\n  user: {name: alice, groups: [staff]}\n  posture: healthy\n"
        "  expect: {tier: full, unreachable: [payroll]}\n"
    )
    (case,) = load_fixtures(written(tmp_path, text), policy)
    assert hold(policy, case).differences == (
        "unreachable: payroll is reached in part, as lan: 10.20.0.0/16 tcp/1-1024",
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3/32 tcp/80", True),
        ("10.0.0.0/8 tcp/80", "10.1.2.3/32 tcp/80-90", True),
        ("10.0.0.0/8 tcp/80", "10.1.2.3/32 tcp/81-90", False),
        ("10.0.0.0/8 tcp/80", "10.1.2.3/32 udp/80", False),
        ("10.0.0.0/8 icmp", "10.0.0.0/8 icmp", True),
        ("10.0.0.0/9", "10.128.0.0/9", False),
        ("::/0", "0.0.0.0/0", False),
        ("2001:db8::/32", "2001:db8:1::/48 udp", True),
    ],
)
def test_permits_overlap_when_one_packet_passes_both(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.1 tcp", "10.0.0.1 tcp/0", "10.0.0.1 tcp/65536", "10.0.0.1 icmp/8",
                                  "10.0.0.1  tcp/1", "10.0.0.0/8 tcp/1", "host tcp/1", "10.0.0.1 any"])  # fmt: skip
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no destination"):
        Destination.parse(text)


def test_the_fixtures_of_a_policy_stand_in_a_folder_of_its_name_beside_it() -> None:
    assert fixtures_beside(Path("/srv/policies/office")) == Path("/srv/policies/tests/office")
    assert fixtures_beside(Path("/srv/policies/office.yaml")) == Path("/srv/policies/tests/office")
