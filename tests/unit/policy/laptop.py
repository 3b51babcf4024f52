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

SHA = "ab" * 32
CERTIFICATE = {
    "subject": "CN=laptop-1",
    "issuer": "CN=Example Devices",
    "sha256": SHA,
    "not_before": (NOW - 10 * DAY).timestamp(),
    "not_after": (NOW + 10 * DAY).timestamp(),
}

HEALTHY: Mapping[str, Any] = {
    "agent.digest": SHA,
    "agent.integrity": True,
    "agent.version": "0.1.0",
    "antivirus.engine_version": "1.4.1",
    "antivirus.product": "clamav",
    "antivirus.realtime": True,
    "antivirus.running": True,
    "antivirus.signatures_at": (NOW - timedelta(hours=5)).timestamp(),
    "antivirus.signatures_version": "27500",
    "boot.firmware": "uefi",
    "boot.integrity_protection": True,
    "boot.lockdown": "integrity",
    "boot.secure_boot": True,
    "boot.tpm_present": True,
    "boot.tpm_version": "2.0",
    "certificates.device": [CERTIFICATE],
    "certificates.extra_roots": [],
    "custom.profile": {"value": "office", "sha256": SHA},
    "device.booted_at": (NOW - timedelta(days=2)).timestamp(),
    "device.container": "none",
    "device.hostname": "laptop-1",
    "device.model": "20XW",
    "device.serial": "PF12",
    "device.uuid": "0c0a-11",
    "device.vendor": "LENOVO",
    "device.virtual": "none",
    "disk.chain": "vg-root lvm < luks crypt < sda3 part < sda disk",
    "disk.home_encrypted": True,
    "disk.root_encrypted": True,
    "disk.swap_encrypted": True,
    "domain.joined": True,
    "domain.kind": "freeipa",
    "domain.mdm_enrolled": True,
    "domain.name": "example.com",
    "edr.product": "falcon",
    "edr.running": True,
    "edr.seen_at": (NOW - timedelta(hours=1)).timestamp(),
    "edr.threats": 0,
    "files.sha256": {"/etc/ssh/sshd_config": SHA},
    "firewall.enabled": True,
    "firewall.input_policy": "drop",
    "firewall.product": "ufw",
    "mdm.compliant": True,
    "mdm.disk_encrypted": True,
    "mdm.enrolled": True,
    "mdm.failing_policies": [],
    "mdm.os_version": "12.5",
    "mdm.product": "fleet",
    "mdm.seen_at": (NOW - timedelta(hours=1)).timestamp(),
    "network.captive_portal": False,
    "network.dns_servers": ["10.20.0.53"],
    "network.gateways": ["192.168.1.1"],
    "network.listening": ["tcp/22"],
    "network.listening_programs": {"tcp/22": "/usr/sbin/sshd"},
    "os.architecture": "x86_64",
    "os.build": "26100.2314",
    "os.distribution": "debian",
    "os.edition": "server",
    "os.family": "linux",
    "os.kernel": "6.1.0-28-amd64",
    "os.release": "bookworm",
    "os.support_ends_at": (NOW + timedelta(days=100)).timestamp(),
    "os.version": "12",
    "patches.automatic": True,
    "patches.installed_at": (NOW - timedelta(days=2)).timestamp(),
    "patches.lists_updated_at": (NOW - timedelta(hours=6)).timestamp(),
    "patches.pending": 3,
    "patches.reboot_required": False,
    "patches.security_pending": 0,
    "patches.services_to_restart": [],
    "processes.executables": ["/usr/bin/bash", "/usr/sbin/sshd"],
    "screen.lock_delay": 300,
    "screen.lock_enabled": True,
    "seen.address": "198.51.100.7",
    "seen.clock_skew": -1.5,
    "seen.contradictions": [],
    "seen.os_family": "linux",
    "seen.updates_at": (NOW - timedelta(hours=1)).timestamp(),
    "tpm.attested": True,
    "tpm.pcrs": {"7": SHA},
    "users.administrators": ["alice", "root"],
    "users.without_password": [],
}
"""Every fact that there is, and one of the organisation's own."""

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
