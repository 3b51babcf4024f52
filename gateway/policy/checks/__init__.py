"""The kinds of check that a policy can use: one frozen dataclass each, told apart by their key `check`."""

from __future__ import annotations

from agent.catalogue import CATALOGUE
from gateway.policy.checks.check import PLATFORM, Check, platform
from gateway.policy.checks.composition import AllOf, AnyCheck, AnyOf, Not
from gateway.policy.checks.expression import Expression
from gateway.policy.checks.inventory import Administrators, Certificates, Domain, Files, Network, Processes
from gateway.policy.checks.others import Custom, Edr, Mdm, Seen, Tpm
from gateway.policy.checks.outcome import Outcome
from gateway.policy.checks.protection import Antivirus, DiskEncryption, Firewall, ScreenLock
from gateway.policy.checks.reporting import AgentIntegrity, AgentVersion, ReportAge
from gateway.policy.checks.system import Boot, Machine, OsSupport, OsVersion, Patches, System

KINDS: dict[str, type[Check]] = {
    "administrators": Administrators,
    "agent-integrity": AgentIntegrity,
    "agent-version": AgentVersion,
    "antivirus": Antivirus,
    "boot": Boot,
    "certificates": Certificates,
    "custom": Custom,
    "disk-encryption": DiskEncryption,
    "domain": Domain,
    "edr": Edr,
    "expr": Expression,
    "files": Files,
    "firewall": Firewall,
    "machine": Machine,
    "mdm": Mdm,
    "network": Network,
    "os-support": OsSupport,
    "os-version": OsVersion,
    "patches": Patches,
    "processes": Processes,
    "report-age": ReportAge,
    "screen-lock": ScreenLock,
    "seen": Seen,
    "system": System,
    "tpm": Tpm,
}
"""Those that look at facts."""

COMPOSED: dict[str, type[Check]] = {"all-of": AllOf, "any-of": AnyOf, "not": Not}
"""Those that are made of others."""

FACTS: tuple[str, ...] = tuple(sorted(CATALOGUE))
"""Every fact that a judgement can depend on, but those that an organisation adds (`custom.<name>`)."""

__all__ = ["COMPOSED", "FACTS", "KINDS", "PLATFORM", "AnyCheck", "Check", "Outcome", "platform"]
