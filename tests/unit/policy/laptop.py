"""A healthy laptop, a small policy that it satisfies, and the hour at which both are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.wire import Fact
from gateway.policy.load import loads
from gateway.policy.model import Posture, Subject
from gateway.policy.policy import Policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

HEALTHY: Mapping[str, Any] = {
    "agent.version": "0.1.0",
    "antivirus.product": "clamav",
    "antivirus.running": True,
    "antivirus.signatures_at": (NOW - timedelta(hours=5)).timestamp(),
    "disk.home_encrypted": True,
    "disk.root_encrypted": True,
    "disk.swap_encrypted": True,
    "firewall.enabled": True,
    "firewall.product": "ufw",
    "os.distribution": "debian",
    "os.family": "linux",
    "os.version": "12",
    "patches.lists_updated_at": (NOW - timedelta(hours=6)).timestamp(),
    "patches.pending": 3,
    "patches.security_pending": 0,
}

MISSING = object()

ALICE = Subject("alice", frozenset({"staff"}), "laptop-1")
BOB = Subject("bob", frozenset({"staff", "finance"}), "laptop-2")
STRANGER = Subject("eve", frozenset(), "laptop-3")

POLICY = """
policy: office
tiers: [full, limited, quarantine, denied]
resources:
  wiki:        {destinations: [10.20.0.10/32], ports: [tcp/443]}
  payroll:     {destinations: [10.20.5.0/24], ports: [tcp/443, tcp/5432]}
  remediation: {destinations: [10.20.9.0/28], ports: [tcp/80]}
access:
  - {groups: [staff],    tier: limited,    resources: [wiki]}
  - {groups: [finance],  tier: full,       resources: [payroll, wiki]}
  - {groups: [everyone], tier: quarantine, resources: [remediation]}
checks:
  firewall:  {check: firewall, enabled: true, otherwise: quarantine, fix: {linux: sudo ufw enable}}
  antivirus: {check: antivirus, running: true, signatures_max_age: 3d, otherwise: limited}
  patched:   {check: patches, security_pending: 0, otherwise: limited, grace: 3d}
  banned:    {check: disk-encryption, root: true, otherwise: denied, grace: 7d}
  swap:      {check: disk-encryption, swap: true, warn: true}
"""


def fact(value: Any) -> Fact:
    return value if isinstance(value, Fact) else Fact(value, "test", NOW.timestamp())


def unreadable(reason: str = "permission denied") -> Fact:
    return Fact(None, "test", NOW.timestamp(), absent=reason)


def posture(received_at: datetime = NOW, **changes: Any) -> Posture:
    """The healthy posture with changes; `firewall__enabled=False` changes `firewall.enabled`."""
    values = {**HEALTHY, **{name.replace("__", "."): value for name, value in changes.items()}}
    return reported(values, received_at)


def reported(values: Mapping[str, Any], received_at: datetime = NOW) -> Posture:
    facts = {name: fact(value) for name, value in values.items() if value is not MISSING}
    return Posture(facts, observed_at=received_at, received_at=received_at)


def office(replace: str = "", by: str = "", *, more: str = "") -> Policy:
    assert replace in POLICY
    return loads(POLICY.replace(replace, by, 1) + more, "office.yaml")
