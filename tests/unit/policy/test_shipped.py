"""The policies of this repository: sound, tested by their fixtures, described by the published schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.policy.advice import advice
from gateway.policy.coverage import covered
from gateway.policy.load import load_parts, load_policy, loads
from gateway.policy.schema import json_schema
from gateway.policy.source import parse
from gateway.policy.suite import fixtures_beside, load_fixtures
from gateway.policy.trial import hold

POLICIES = Path(__file__).parents[3] / "policies"
SHIPPED = sorted(folder for folder in POLICIES.iterdir() if folder.is_dir() and folder.name != "tests")
FILES = [file for folder in SHIPPED for file in sorted(folder.glob("*.yaml"))]
VALIDATOR = Draft202012Validator(json_schema())


def data(text: str) -> Any:
    return parse(text.encode(), "x.yaml").data


def test_these_policies_are_shipped() -> None:
    assert [folder.name for folder in SHIPPED] == ["contractors", "demo", "starter", "strict"]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_policy_decides_what_its_fixtures_expect(folder: Path) -> None:
    policy = load_policy(folder)
    wrong = {
        case.fixture.name: hold(policy, case).differences
        for case in load_fixtures(fixtures_beside(folder), policy)
        if not hold(policy, case).passed
    }
    assert wrong == {}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_every_check_and_every_resource_of_a_shipped_policy_is_in_a_fixture(folder: Path) -> None:
    policy = load_policy(folder)
    expected = [case.fixture.expect for case in load_fixtures(fixtures_beside(folder), policy)]
    failing = {name for expect in expected for name in expect.findings or ()}
    assert set(policy.checks) == failing - {"report"}
    assert set(policy.resources) == {name for e in expected for name in e.reachable if " " not in name}
    assert {name for e in expected for name in e.unreachable} >= set(policy.resources) - {"remediation", "dns"}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_there_is_no_advice_about_a_shipped_policy_and_its_fixtures_try_all_of_it(folder: Path) -> None:
    policy, parts = load_parts(folder)
    assert advice(policy, parts) == []
    trials = [hold(policy, case) for case in load_fixtures(fixtures_beside(folder), policy)]
    assert covered(policy, trials).whole


def test_the_starter_policy_shows_the_common_kinds_of_check_with_grace_fixes_and_warnings() -> None:
    checks = load_policy(POLICIES / "starter").checks.values()
    common = {"agent-version", "antivirus", "disk-encryption", "firewall", "os-version", "patches", "report-age"}
    assert {getattr(check, "check") for check in checks} >= common  # noqa: B009 (each kind has its own literal)
    assert any(check.grace for check in checks)
    assert any(check.fix for check in checks)
    assert any(check.warn for check in checks)


def test_the_published_schema_is_the_one_that_the_code_makes() -> None:
    assert (POLICIES / "schema.json").read_text() == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_schema_is_a_sound_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_shipped_file_names_the_schema_and_satisfies_it(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=../schema.json\n")
    assert [error.message for error in VALIDATOR.iter_errors(data(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "chekcs: {}",
        "policy: Not A Name",
        "tiers: [one]",
        "resources: {wiki: {destinations: []}}",
        "resources: {wiki: {destinations: [10.0.0.0/255.0.0.0]}}",
        "resources: {wiki: {destinations: [10.0.0.1], ports: [443]}}",
        "resources: {Wiki: {destinations: [10.0.0.1]}}",
        "access: [{groups: [a], resources: [b]}]",
        "checks: {fw: {check: firewal, enabled: true}}",
        "checks: {fw: {check: firewall, enabled: false}}",
        "checks: {fw: {enabled: true}}",
        "checks: {v: {check: agent-version, minimum: 0.1}}",
        "checks: {p: {check: patches, pending: -1}}",
        "checks: {p: {check: patches, pending: 1, grace: 3 days}}",
        "checks: {p: {check: patches, pending: 1, fix: {linus: x}}}",
        "session: {lease: 60}",
        "limits: [{groups: [a], rate: 20M}]",
    ],
)
def test_an_editor_sees_the_mistakes_that_the_loader_sees(text: str) -> None:
    assert not VALIDATOR.is_valid(data(text))


def test_the_schema_offers_null_nowhere() -> None:
    def nulls(value: Any) -> bool:
        if isinstance(value, Mapping):
            return value.get("type") == "null" or any(nulls(member) for member in value.values())
        return value is None or (isinstance(value, list) and any(nulls(member) for member in value))

    assert not nulls(json_schema())


def test_the_example_of_the_readme_is_a_sound_policy() -> None:
    (example,) = re.findall(
        r"^```yaml\n(checks:\n.*?)^```$", (POLICIES / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    policy = loads(f"policy: x\ntiers: [full, limited, denied]\n{example}", "README.md")
    assert list(policy.checks) == ["no-snake-oil", "protected"]
    assert VALIDATOR.is_valid(data(example))
