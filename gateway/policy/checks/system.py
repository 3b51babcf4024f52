"""Checks on the operating system: its version and its pending updates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gateway.policy.checks.check import STRICT, Check, Count, Duration, Outcome, Requirement
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture
from gateway.policy.names import Text


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OsVersion(Check):
    """The version of the distribution, or of the family (`darwin`, `windows`) where there are no distributions.

    A system that `minimum` does not name fails: nobody has said that it is good enough.
    """

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "upgrade the system to one of: $minimum",
        "darwin": "open System Settings, General, Software Update, and upgrade to one of: $minimum",
        "windows": "open Settings, Windows Update, and upgrade to one of: $minimum",
    }

    facts: ClassVar[tuple[str, ...]] = ("os.family", "os.distribution", "os.version")

    check: Literal["os-version"]
    minimum: Annotated[dict[Text, Requirement], Field(min_length=1)]

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        family = look.text("os.family")
        system = look.text("os.distribution") if family == "linux" else family
        required = self.minimum.get(system or "")
        if required is not None:
            look.version("os.version", required, f"the version of {system}")
        elif system is not None:
            look.fail(f"the system is {system}, and only {', '.join(sorted(self.minimum))} are accepted")
        return look.outcome(minimum=", ".join(f"{name} {self.minimum[name].text}" for name in sorted(self.minimum)))


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Patches(Check):
    """Updates that wait to be installed, and the age of the lists that say so."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "install the pending updates: sudo apt update && sudo apt upgrade, or sudo dnf upgrade --refresh",
        "darwin": "install the pending updates: sudo softwareupdate --install --all",
        "windows": "open Settings, Windows Update, and install the pending updates",
    }
    needs_one_of: ClassVar[tuple[str, ...]] = ("security_pending", "pending", "lists_max_age")
    facts: ClassVar[tuple[str, ...]] = ("patches.security_pending", "patches.pending", "patches.lists_updated_at")

    check: Literal["patches"]
    security_pending: Count | None = None
    pending: Count | None = None
    lists_max_age: Duration | None = None

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        security = _at_most(look, "patches.security_pending", self.security_pending, "security updates")
        pending = _at_most(look, "patches.pending", self.pending, "updates")
        if self.lists_max_age is not None:
            look.younger(
                "the lists of updates were last renewed", look.moment("patches.lists_updated_at"), self.lists_max_age
            )
        return look.outcome(security_pending=security, pending=pending)


def _at_most(look: Examination, name: str, limit: int | None, what: str) -> int | None:
    if limit is None:
        return None
    found = look.count(name)
    if found is not None and found > limit:
        look.fail(f"{found} {what} are pending, and {limit} are allowed")
    return found
