"""The kinds of check that a policy can use: one frozen dataclass each, told apart by their key `check`."""

from __future__ import annotations

from gateway.policy.checks.check import PLATFORM, Check, Outcome, platform
from gateway.policy.checks.composition import AllOf, AnyCheck, AnyOf, Not
from gateway.policy.checks.protection import Antivirus, DiskEncryption, Firewall
from gateway.policy.checks.reporting import AgentVersion, ReportAge
from gateway.policy.checks.system import OsVersion, Patches

KINDS: dict[str, type[Check]] = {
    "agent-version": AgentVersion,
    "antivirus": Antivirus,
    "disk-encryption": DiskEncryption,
    "firewall": Firewall,
    "os-version": OsVersion,
    "patches": Patches,
    "report-age": ReportAge,
}
"""Those that look at facts."""

COMPOSED: dict[str, type[Check]] = {"all-of": AllOf, "any-of": AnyOf, "not": Not}
"""Those that are made of others."""

FACTS: tuple[str, ...] = tuple(sorted({name for kind in KINDS.values() for name in kind.facts} | {PLATFORM}))
"""Every fact that a judgement can depend on."""

__all__ = ["COMPOSED", "FACTS", "KINDS", "PLATFORM", "AnyCheck", "Check", "Outcome", "platform"]
