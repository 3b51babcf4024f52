"""Checks on the operating system: its version, its support, its pending updates, how it starts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from agent.wire import Fact
from gateway.policy.checks.ask import ALWAYS, Ask, Screen
from gateway.policy.checks.asks import (
    Ahead,
    AtMost,
    Empty,
    Flag,
    KernelVersion,
    Matches,
    OneOf,
    Version,
    Younger,
    met,
)
from gateway.policy.checks.check import STRICT, Asking, Count, Demanded, Duration, Leaf, Pattern, Requirement
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture
from gateway.policy.names import Text

UPDATE = {
    "linux": "install the pending updates: sudo apt update && sudo apt upgrade, or sudo dnf upgrade --refresh",
    "darwin": "install the pending updates: sudo softwareupdate --install --all",
    "windows": "open Settings, Windows Update, and install the pending updates",
}
Texts = Annotated[list[Text], Field(min_length=1)]
"""A set of accepted texts."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OsVersion(Leaf):
    """The version of the distribution, or of the family (`darwin`, `windows`) where there are no distributions.

    A system that `minimum` does not name fails: nobody has said that it is good enough.
    """

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "upgrade the system to one of: $minimum",
        "darwin": "open System Settings, General, Software Update, and upgrade to one of: $minimum",
        "windows": "open Settings, Windows Update, and upgrade to one of: $minimum",
    }
    check: Literal["os-version"]
    minimum: Annotated[dict[Text, Requirement], Field(min_length=1)]

    def reads(self) -> list[str]:
        return ["os.distribution", "os.family", "os.version"]

    def look(self, look: Examination) -> None:
        look.values["minimum"] = ", ".join(f"{name} {self.minimum[name].text}" for name in sorted(self.minimum))
        system = look.text("os.family")
        if system == "linux":
            system = look.text("os.distribution")
        required = self.minimum.get(system or "")
        if required is not None:
            look.version("os.version", required, f"the version of {system}")
        elif system is not None:
            look.fail(f"the system is {system}, and only {', '.join(sorted(self.minimum))} are accepted")

    def quick(self) -> Screen:
        meets = {system: met(required) for system, required in self.minimum.items()}

        def screen(facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            system, version = facts.get("os.family"), facts.get("os.version")
            if system is not None and system.value == "linux" and system.absent is None:
                system = facts.get("os.distribution")
            if system is None or version is None or system.absent is not None or version.absent is not None:
                return None
            good = meets.get(system.value)
            return ALWAYS if good is not None and good(version.value) else None

        return screen


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OsSupport(Asking):
    """The release still gets security updates, and will for `margin`. A release that no table knows fails."""

    default_fixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("linux", "darwin", "windows"), "upgrade to a release of the system that still gets security updates"
    )
    asks: ClassVar[Mapping[str, Ask]] = {"margin": Ahead("os.support_ends_at", "the support of this release ends")}

    check: Literal["os-support"]
    margin: Duration


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class System(Asking):
    """Which system it is: release, edition, build, kernel, architecture. The kernel's version is the distribution's own."""

    default_fixes: ClassVar[Mapping[str, str]] = UPDATE
    asks: ClassVar[Mapping[str, Ask]] = {
        "distributions": OneOf("os.distribution", "the system"),
        "releases": OneOf("os.release", "the release of the system"),
        "editions": OneOf("os.edition", "the edition of the system"),
        "architectures": OneOf("os.architecture", "the architecture"),
        "build": Version("os.build", "the build of the system"),
        "kernel": KernelVersion("os.kernel", "the kernel"),
    }

    check: Literal["system"]
    distributions: Texts | None = None
    releases: Texts | None = None
    editions: Texts | None = None
    architectures: Texts | None = None
    build: Requirement | None = None
    kernel: Requirement | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Patches(Asking):
    """Updates that wait to be installed or to take effect, and the age of the lists that say so."""

    default_fixes: ClassVar[Mapping[str, str]] = UPDATE
    asks: ClassVar[Mapping[str, Ask]] = {
        "security_pending": AtMost(
            "patches.security_pending", "{found} security updates are pending, and {limit} are allowed"
        ),
        "pending": AtMost("patches.pending", "{found} updates are pending, and {limit} are allowed"),
        "lists_max_age": Younger("patches.lists_updated_at", "the lists of updates were last renewed"),
        "installed_max_age": Younger("patches.installed_at", "updates were last installed"),
        "restarted": Flag("patches.reboot_required", "an update waits for a restart of the system", good=False),
        "services_restarted": Empty("patches.services_to_restart", "these still run what an update has replaced"),
        "automatic": Flag("patches.automatic", "security updates are not installed automatically"),
    }

    check: Literal["patches"]
    security_pending: Count | None = None
    pending: Count | None = None
    lists_max_age: Duration | None = None
    installed_max_age: Duration | None = None
    restarted: Demanded | None = None
    services_restarted: Demanded | None = None
    automatic: Demanded | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Machine(Asking):
    """Which machine it is, real or virtual, and when it started."""

    default_fixes: ClassVar[Mapping[str, str]] = {}
    asks: ClassVar[Mapping[str, Ask]] = {
        "serials": OneOf("device.serial", "the serial number"),
        "uuids": OneOf("device.uuid", "the UUID"),
        "vendors": OneOf("device.vendor", "the vendor"),
        "models": OneOf("device.model", "the model"),
        "hostname": Matches("device.hostname", "the name of the machine"),
        "virtual": OneOf("device.virtual", "the kind of virtual machine"),
        "container": OneOf("device.container", "the kind of container"),
        "started_max_age": Younger("device.booted_at", "the system was started"),
    }

    check: Literal["machine"]
    serials: Texts | None = None
    uuids: Texts | None = None
    vendors: Texts | None = None
    models: Texts | None = None
    hostname: Pattern | None = None
    virtual: Texts | None = None
    container: Texts | None = None
    started_max_age: Duration | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Boot(Asking):
    """How the machine starts: nothing else than what its owner trusts."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "turn on Secure Boot in the firmware's setup; mokutil --sb-state shows it",
        "darwin": "start in Recovery, open Startup Security Utility and choose Full Security; csrutil enable",
        "windows": "turn on Secure Boot in the firmware's setup, and memory integrity in Windows Security, Device security",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "secure_boot": Flag("boot.secure_boot", "Secure Boot is off"),
        "integrity_protection": Flag("boot.integrity_protection", "the integrity protection of the system is off"),
        "tpm": Flag("boot.tpm_present", "there is no TPM"),
        "tpm_version": Version("boot.tpm_version", "the version of the TPM"),
        "firmware": OneOf("boot.firmware", "the firmware"),
        "lockdown": OneOf("boot.lockdown", "the kernel's lockdown"),
    }

    check: Literal["boot"]
    secure_boot: Demanded | None = None
    integrity_protection: Demanded | None = None
    tpm: Demanded | None = None
    tpm_version: Requirement | None = None
    firmware: Texts | None = None
    lockdown: Annotated[list[Literal["none", "integrity", "confidentiality"]], Field(min_length=1)] | None = None
