"""`sallyport policy explain`: the story in text and as an object, about fixtures and about printed facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main

POLICY = """policy: tiny
tiers: [full, quarantine, denied]
resources:
  wiki: {destinations: [10.20.0.10/32], ports: [tcp/443]}
access:
  - {groups: [staff], tier: full, resources: [wiki]}
checks:
  av: {check: antivirus, signatures_max_age: 1d, otherwise: quarantine, grace: 2h}
  fw: {check: firewall, enabled: true, otherwise: quarantine, fix: ufw enable, owner: it, link: https://wiki.example.com}
  mac: {check: firewall, products: [pf], otherwise: denied, platforms: [darwin]}
"""
FIXTURES = """fixtures:
  - name: "at work: firewall off"
    user: {name: alice, groups: [staff]}
    posture: {os.family: linux, firewall.enabled: false, antivirus.signatures_at: {ago: 23h}}
    report_age: 5s
    expect: {tier: quarantine}
"""
AT = "2026-01-01T00:00:00Z"
NOON = 1767225600
FACTS = {
    "os.family": {"value": "linux", "source": "/etc/os-release", "observed_at": NOON - 1},
    "firewall.enabled": {"value": True, "source": "nft", "observed_at": NOON - 120},
    "antivirus.signatures_at": {"value": None, "source": "clamd", "observed_at": NOON, "absent": "no\x1b[2J socket"},
}
OFF = "the firewall is off: connections from outside are accepted unless a rule forbids them"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder, beside = tmp_path / "tiny", tmp_path / "tests" / "tiny"
    folder.mkdir()
    beside.mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    (beside / "all.yaml").write_text(FIXTURES)
    (tmp_path / "facts.json").write_text(json.dumps(FACTS))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = main(["policy", "explain", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out


def of_fixture(tiny: Path) -> list[str]:
    return ["--fixture", f"{tiny.parent}/tests/tiny/all.yaml:at work: firewall off"]


def of_facts(tiny: Path) -> list[str]:
    return ["--user", "bob", "--group", "staff", "--posture", f"{tiny.parent}/facts.json", "--at", AT]


def test_a_fixture_is_told_from_its_facts_to_what_comes_next(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, tiny, *of_fixture(tiny))
    first, *rest = out.splitlines()
    assert status == 0
    assert first.startswith("alice of staff, judged by tiny ")
    assert first.endswith(" at 2026-01-01 00:00:00 UTC")
    assert rest == [
        "tier quarantine, which reaches nothing",
        "facts (device-signed), received 5s ago",
        "  antivirus.signatures_at = 2025-12-31 01:00:00 UTC (23h ago), read now from fixture",
        "  firewall.enabled = false, read now from fixture",
        "checks",
        "  passed   av",
        f"  FAILED   -> quarantine, fw: {OFF}",
        "           fix: ufw enable",
        "           owner: it",
        "           link: https://wiki.example.com",
        "  not for  mac: it does not concern this device",
        "for a better tier",
        "  full, which adds wiki: repair fw",
        "what comes next: by time alone nothing changes before 2026-01-01 00:14:55 UTC",
        "  if no report comes any more",
        "    2026-01-01 00:14:55 UTC: report fails: the last report came 2025-12-31 23:59 UTC, which is 15m ago or more",
        "  if reports go on with the same facts",
        "    2026-01-01 01:00:00 UTC: av fails: the antivirus signatures were made 2025-12-31 01:00 UTC, which is 1d ago or more",
        "    2026-01-01 03:00:00 UTC: the grace of av ends",
    ]


def test_printed_facts_are_told_as_if_they_had_come_now_and_never_reach_the_terminal_raw(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(capsys, tiny, *of_facts(tiny))
    assert status == 0
    assert out.splitlines()[1:8] == [
        "tier full, which reaches wiki",
        "facts (claimed), received now",
        "  antivirus.signatures_at = unreadable (no [2J socket), read now from clamd",
        "  firewall.enabled = true, read 2m ago from nft",
        "checks",
        "  passed   fw",
        "  in grace -> quarantine at 2026-01-01 02:00:00 UTC, av: antivirus.signatures_at could not be read: no [2J socket",
    ]
    assert "\x1b" not in out


def test_a_program_gets_the_same_as_one_object(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, tiny, *of_fixture(tiny), "--json")
    answer: dict[str, Any] = json.loads(out)
    assert (status, answer["tier"], answer["resources"], answer["user"]) == (0, "quarantine", [], "alice")
    assert answer["checks"] == {"report": "passed", "av": "passed", "fw": "failed", "mac": "not concerned"}
    assert answer["better"] == [{"tier": "full", "repair": ["fw"], "gained": ["wiki"]}]
    assert answer["valid_until"] == answer["next"]["without_reports"]["at"] == "2026-01-01T00:14:55+00:00"
    assert [event["tier"] for event in answer["next"]["with_reports"]] == ["quarantine", "quarantine"]
    assert answer["facts"]["firewall.enabled"]["value"] is False
    (finding,) = answer["findings"]
    assert (finding["fix"], finding["owner"], finding["link"]) == ("ufw enable", "it", "https://wiki.example.com")


def test_a_user_without_facts_has_not_reported_yet(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, tiny, "--user", "bob")
    assert status == 0
    assert out.splitlines()[1:] == [
        "tier quarantine, which reaches nothing",
        "facts: the device has not reported yet",
        "checks",
        "  FAILED   -> quarantine, report: the device has not reported yet",
        "what comes next: the first report decides",
    ]


def test_without_a_time_it_is_judged_now(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, tiny, *of_facts(tiny)[:-2], "--json")
    assert status == 0
    assert json.loads(out)["evaluated_at"] > "2026-01-01"


def test_a_fixture_that_does_not_exist_is_named_with_those_that_do(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = f"{tiny.parent}/tests/tiny/all.yaml"
    assert run(capsys, tiny, "--fixture", f"{file}:off") == (
        1,
        f"{file}:1:1: has no fixture 'off'; allowed are at work: firewall off\n1 problem\n",
    )


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", "{", '{"a": 5}', '{"a": {"value": 1}}', '{"a": {"value": 1, "source": "x", "observed_at": "now"}}',
     "[" * 100_000, "\x00", "\xff"],
)  # fmt: skip
def test_what_holds_no_facts_is_a_problem_and_never_a_traceback(
    tiny: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny.parent / "facts.json").write_bytes(text.encode("latin-1"))
    status, out = run(capsys, tiny, *of_facts(tiny))
    assert status == 1
    assert "facts.json:1:1: holds no facts as `sallyport-agent report --print` prints them: " in out


def test_odd_numbers_in_printed_facts_are_told_and_not_believed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = '{"firewall.enabled": {"value": 1e400, "source": "x", "observed_at": -1e308}, "antivirus.signatures_at": {"value": 1e300, "source": "x", "observed_at": 1e308}}'
    (tiny.parent / "facts.json").write_text(odd)
    status, out = run(capsys, tiny, *of_facts(tiny))
    assert status == 0
    assert "firewall.enabled = Infinity" in out


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "needs either --fixture FILE:NAME or --user NAME"),
        (["--fixture", "a:b", "--user", "x"], "needs either --fixture FILE:NAME or --user NAME"),
        (["--fixture", "a:b", "--at", AT], "a fixture has its own user, groups, device, posture and time"),
        (["--user", "x", "--at", "noon"], "noon is not a time; allowed is UTC, for example 2026-03-01T12:00:00Z"),
    ],
)
def test_a_wrong_call_says_what_is_allowed(
    tiny: Path, arguments: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["policy", "explain", str(tiny), *arguments])
    assert ended.value.code == 2
    assert wrong in capsys.readouterr().err
