"""Checks on what protects the device: antivirus, firewall, disk encryption."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gateway.policy.checks.check import STRICT, Check, Demanded, Duration, Outcome
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture
from gateway.policy.names import Text


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Antivirus(Check):
    """The engine runs, its signatures are young, and it is one of the products that are accepted."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "start the antivirus and renew its signatures: sudo systemctl start clamav-freshclam clamav-daemon",
        "darwin": "start the antivirus and let it renew its signatures",
        "windows": "open Windows Security, Virus & threat protection, turn it on and check for updates",
    }
    needs_one_of: ClassVar[tuple[str, ...]] = ("running", "signatures_max_age", "products")
    facts: ClassVar[tuple[str, ...]] = ("antivirus.running", "antivirus.signatures_at", "antivirus.product")

    check: Literal["antivirus"]
    running: Demanded | None = None
    signatures_max_age: Duration | None = None
    products: Annotated[list[Text], Field(min_length=1)] | None = None

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        if self.running and look.flag("antivirus.running") is False:
            look.fail("the antivirus is not running")
        if self.signatures_max_age is not None:
            look.younger(
                "the antivirus signatures were made", look.moment("antivirus.signatures_at"), self.signatures_max_age
            )
        _one_of(look, "antivirus.product", self.products, "antivirus")
        return look.outcome()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Firewall(Check):
    """The firewall refuses what nobody asked for. `enabled` is about its effect, not about a service that runs."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "turn the firewall on: sudo ufw enable, or load rules whose input chain has policy drop",
        "darwin": "open System Settings, Network, Firewall, and turn it on",
        "windows": "open Windows Security, Firewall & network protection, and turn it on for every network",
    }
    needs_one_of: ClassVar[tuple[str, ...]] = ("enabled", "products")
    facts: ClassVar[tuple[str, ...]] = ("firewall.enabled", "firewall.product")

    check: Literal["firewall"]
    enabled: Demanded | None = None
    products: Annotated[list[Text], Field(min_length=1)] | None = None

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        if self.enabled and look.flag("firewall.enabled") is False:
            look.fail("the firewall is off: connections from outside are accepted unless a rule forbids them")
        _one_of(look, "firewall.product", self.products, "firewall")
        return look.outcome()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DiskEncryption(Check):
    """The volumes that must be encrypted, through the whole chain beneath them."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "encrypt the disk with LUKS; on most distributions this means a new installation with encryption",
        "darwin": "open System Settings, Privacy & Security, FileVault, and turn it on",
        "windows": "open Settings, Privacy & security, Device encryption or BitLocker, and turn it on",
    }
    needs_one_of: ClassVar[tuple[str, ...]] = ("root", "home", "swap")
    facts: ClassVar[tuple[str, ...]] = ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted")

    check: Literal["disk-encryption"]
    root: Demanded | None = None
    home: Demanded | None = None
    swap: Demanded | None = None

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        for volume, required in (("root", self.root), ("home", self.home), ("swap", self.swap)):
            if required and look.flag(f"disk.{volume}_encrypted") is False:
                look.fail(f"the {volume} volume is not encrypted")
        return look.outcome()


def _one_of(look: Examination, name: str, accepted: list[str] | None, what: str) -> None:
    if accepted is None:
        return
    found = look.text(name)
    if found is not None and found not in accepted:
        look.fail(f"the {what} is {found}, and only {', '.join(sorted(accepted))} are accepted")
