"""Fixtures that say where somebody connects from, what names stand for, and facts that are no plain values."""

from __future__ import annotations

from pathlib import Path

from gateway.policy.load import loads
from gateway.policy.suite import load_fixtures
from gateway.policy.trial import hold

POLICY = """
policy: p
tiers: [full, limited, denied]
networks: {office: [9.9.9.0/24]}
tags: {kiosk: [], lab: []}
windows: {mornings: {zone: Europe/Vienna, opens: 06:00, closes: 12:00}}
resources:
  git: {names: [git.example.com], ports: [tcp/443]}
  vault: {destinations: [10.40.0.1/32]}
access:
  - {groups: [everyone], tier: full, resources: [git], networks: [office], when: [mornings]}
  - {groups: [everyone], tier: limited, resources: [vault], countries: [AT], tags: [kiosk]}
checks:
  files: {check: files, sha256: {/etc/x: [absent]}, otherwise: limited}
  admins: {check: administrators, only: [root], otherwise: limited}
  managed: {check: mdm, enrolled: true, evidence: vendor-confirmed, otherwise: limited}
  supported: {check: os-support, margin: 30d, otherwise: limited}
"""
GOOD = """
fixtures:
  - name: everything
    user: {name: alice, address: 9.9.9.7, country: AT, tags: [kiosk]}
    names: {git.example.com: [10.20.0.7]}
    evidence: {mdm.enrolled: vendor-confirmed}
    at: 2026-03-02T08:00:00Z
    posture:
      files.sha256: {exactly: {/etc/x: absent}}
      users.administrators: [root]
      mdm.enrolled: true
      os.support_ends_at: {ahead: 31d}
    expect: {tier: full, findings: [], reachable: [10.20.0.7 tcp/443, vault]}
"""


def differences(tmp_path: Path, old: str = "", new: str = "") -> tuple[str, ...]:
    assert old in GOOD
    (tmp_path / "f.yaml").write_text(GOOD.replace(old, new, 1))
    policy = loads(POLICY, "p.yaml")
    (case,) = load_fixtures(tmp_path, policy)
    return hold(policy, case).differences


def test_a_fixture_says_everything_that_a_rule_asks_for(tmp_path: Path) -> None:
    assert differences(tmp_path) == ()


def test_each_of_it_matters(tmp_path: Path) -> None:
    for old, new in (
        ("9.9.9.7", "8.8.8.8"), ("country: AT", "country: DE"), ("[kiosk]", "[lab]"), ("10.20.0.7]}\n", "10.20.0.8]}\n"),
        ("mdm.enrolled: vendor-confirmed", "mdm.enrolled: claimed"), ("T08:00", "T20:00"), ("/etc/x: absent}", "/etc/y: absent}"),
        ("[root]", "[root, eve]"), ("31d", "30d"),
    ):  # fmt: skip
        assert differences(tmp_path, old, new), new
