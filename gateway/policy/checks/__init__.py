"""The kinds of check that a policy can use: one frozen dataclass each, told apart by their key `check`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.policy.checks.check import PLATFORM, Check, Outcome
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

FACTS: tuple[str, ...] = tuple(sorted({name for kind in KINDS.values() for name in kind.facts} | {PLATFORM}))
"""Every fact that a judgement can depend on."""

AnyCheck = Annotated[
    OsVersion | Patches | Antivirus | Firewall | DiskEncryption | ReportAge | AgentVersion, Field(discriminator="check")
]

__all__ = ["FACTS", "KINDS", "PLATFORM", "AnyCheck", "Check", "Outcome"]
