"""`sallyport policy`: what is printed, for people and for programs, and the exit status of every outcome."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.policy.schema import json_schema

POLICIES = Path(__file__).parents[3] / "policies"

POLICY = """policy: tiny
tiers: [full, quarantine, denied]
resources:
  wiki: {destinations: [10.20.0.10/32], ports: [tcp/443]}
access:
  - {groups: [everyone], tier: full, resources: [wiki]}
checks:
  fw: {check: firewall, enabled: true, otherwise: quarantine}
  os: {check: agent-version, minimum: "1", otherwise: quarantine, grace: 2d}
"""
FIXTURES = """fixtures:
  - name: healthy
    user: {name: alice}
    posture: {firewall.enabled: true, agent.version: "1"}
    expect: {tier: full, reachable: [wiki]}
  - name: firewall off
    user: {name: alice}
    posture: {firewall.enabled: false}
    expect: {tier: full, findings: [fw], reachable: [wiki]}
"""
PORTS = "allowed is for example tcp/443, udp/5000-5010, tcp, udp, icmp or icmpv6"
OFF = "the firewall is off: connections from outside are accepted unless a rule forbids them"
RIGHT = FIXTURES.replace(
    "{tier: full, findings: [fw], reachable: [wiki]}", "{tier: quarantine, findings: [fw, os], unreachable: [wiki]}"
)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a sound policy, and right fixtures beside it."""
    folder, beside = tmp_path / "tiny", tmp_path / "tests" / "tiny"
    folder.mkdir()
    beside.mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    (beside / "all.yaml").write_text(RIGHT)
    return folder


def fixtures(tiny: Path) -> Path:
    return tiny.parent / "tests" / "tiny" / "all.yaml"


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = main(["policy", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any]:
    status, out = run(capsys, *arguments, "--json")
    return status, json.loads(out)


def test_a_sound_policy_is_named_with_its_size_and_version(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, "check", tiny)
    assert status == 0
    first, second = out.splitlines()
    assert first == "tiny is sound: 2 checks, 1 resources, 1 access rules, tiers full > quarantine > denied"
    assert second.removeprefix("version ").isalnum()


def test_a_sound_policy_is_one_object_for_programs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = run_json(capsys, "check", tiny)
    assert (status, answer["sound"], answer["policy"], answer["problems"]) == (0, True, "tiny", [])
    assert len(answer["version"]) == 64


def test_every_problem_is_printed_where_it_stands_with_what_is_allowed(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny / "policy.yaml"
    file.write_text(POLICY.replace("enabled", "enabeld").replace("tcp/443", "tcp/0"))
    status, out = run(capsys, "check", tiny)
    assert status == 1
    assert out.splitlines() == [
        f"{file}:4:49: resources.wiki.ports.0: 'tcp/0' are not ports; {PORTS}",
        "      wiki: {destinations: [10.20.0.10/32], ports: [tcp/0]}",
        " " * 52 + "^",
        f"{file}:8:25: checks.fw.enabeld: is not a key; allowed are otherwise, warn, grace, severity, fix, platforms, groups, devices, tags, evidence, owner, link, check, enabled, input_policy, products",
        "      fw: {check: firewall, enabeld: true, otherwise: quarantine}",
        " " * 28 + "^",
        "2 problems",
    ]


def test_problems_are_objects_for_programs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tiny / "policy.yaml"
    file.write_text(POLICY.replace("tcp/443", "tcp/0"))
    for action in ("check", "test"):
        status, answer = run_json(capsys, action, tiny)
        assert (status, answer["sound"]) == (1, False)
        (problem,) = answer["problems"]
        assert (problem["file"], problem["line"], problem["column"]) == (str(file), 4, 49)
        assert problem["text"].startswith("resources.wiki.ports.0: 'tcp/0' are not ports; allowed is")


def test_right_fixtures_are_listed_and_counted(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "test", tiny) == (
        0,
        "ok    healthy\nok    firewall off\n2 fixtures of tiny: 2 as expected, 0 otherwise\n",
    )


def test_a_wrong_expectation_is_shown_with_what_was_computed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixtures(tiny).write_text(FIXTURES)
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert out.splitlines() == [
        "ok    healthy",
        "WRONG firewall off",
        f"      {fixtures(tiny)}:6:5",
        "      tier: expected full, computed quarantine",
        "      findings: expected fw, computed fw, os",
        "      reachable: wiki is not reached",
        "      computed: tier quarantine, which reaches nothing",
        f"      computed: fw leads to quarantine: {OFF}",
        "      computed: os is in grace until 2026-01-03 00:00 UTC: agent.version was not reported",
        "2 fixtures of tiny: 1 as expected, 1 otherwise",
    ]


def test_a_wrong_expectation_is_an_object_for_programs(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixtures(tiny).write_text(FIXTURES)
    status, answer = run_json(capsys, "test", tiny)
    assert (status, answer["ok"], [f["ok"] for f in answer["fixtures"]]) == (1, False, [True, False])
    wrong = answer["fixtures"][1]
    assert (wrong["name"], wrong["line"], wrong["differences"][0]) == (
        "firewall off",
        6,
        "tier: expected full, computed quarantine",
    )
    assert wrong["computed"]["tier"] == "quarantine"
    assert [(f["check"], f["effective"]) for f in wrong["computed"]["findings"]] == [("fw", True), ("os", False)]


def test_a_check_that_only_warns_is_called_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny / "policy.yaml").write_text(POLICY.replace("otherwise: quarantine}", "warn: true}"))
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert "computed: fw only warns: the firewall is off" in out


def test_fixtures_may_stand_in_a_folder_that_is_named(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.yaml").write_text(FIXTURES)
    assert run(capsys, "test", tiny, "--fixtures", elsewhere)[0] == 1
    assert run(capsys, "test", tiny)[0] == 0


def test_a_policy_without_fixtures_does_not_pass(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fixtures(tiny).parent
    fixtures(tiny).write_text("postures: {laptop: {}}\n")
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert out.startswith(f"{folder}:1:1: holds no fixtures; a policy without fixtures is not tested\n")
    fixtures(tiny).unlink()
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert out.startswith(f"{folder}:1:1: holds 0 fixture files; allowed are 1 to 256 named *.yaml\n")
    folder.rmdir()
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert out.splitlines() == [
        f"{folder}:1:1: is not there; it must hold the policy's fixtures, or name their folder with --fixtures",
        "1 problem",
    ]


def test_mistakes_in_fixtures_are_shown_as_those_in_policies_are(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixtures(tiny).write_text(RIGHT.replace("tier: full", "tier: fulll"))
    status, out = run(capsys, "test", tiny)
    assert status == 1
    assert out.splitlines() == [
        f"{fixtures(tiny)}:5:20: fixtures.0.expect.tier: 'fulll' is no tier; allowed are full, quarantine, denied",
        "        expect: {tier: fulll, reachable: [wiki]}",
        " " * 23 + "^",
        "1 problem",
    ]


def test_the_schema_is_printed_as_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys, "schema")
    assert (status, json.loads(out)) == (0, json_schema())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chek"],
        ["check"],
        ["check", "/does/not/exist"],
        ["check", str(POLICIES / "demo"), "--jsno"],
        ["test", str(POLICIES / "demo"), "--fixtures", "/does/not/exist"],
        ["test", str(POLICIES / "demo"), "--fixtures", str(POLICIES / "schema.json")],
        ["schema", "extra"],
    ],
)
def test_a_wrong_call_is_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["policy", *arguments])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err


@pytest.mark.parametrize("name", ["demo", "starter"])
def test_the_installed_command_finds_the_shipped_policies_sound_from_any_folder(name: str, tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("sallyport"), "policy", "test", POLICIES / name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(", 0 otherwise")


def test_a_policy_is_found_from_within_its_own_folder(tiny: Path) -> None:
    command = [Path(sys.executable).with_name("sallyport"), "policy", "test", "."]
    assert subprocess.run(command, cwd=tiny, capture_output=True, check=False).returncode == 0
