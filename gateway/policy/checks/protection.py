"""Checks on what protects the device: antivirus, firewall, disk encryption, the lock of the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gateway.policy.checks.ask import Ask
from gateway.policy.checks.asks import Flag, Matches, OneOf, Version, Within, Younger
from gateway.policy.checks.check import STRICT, Asking, Demanded, Duration, Pattern, Requirement
from gateway.policy.checks.system import Texts


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Antivirus(Asking):
    """The engine runs, its signatures are young, and it is one of the products that are accepted."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "start the antivirus and renew its signatures: sudo systemctl start clamav-freshclam clamav-daemon",
        "darwin": "start the antivirus and let it renew its signatures",
        "windows": "open Windows Security, Virus & threat protection, turn it on and check for updates",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "running": Flag("antivirus.running", "the antivirus is not running"),
        "realtime": Flag("antivirus.realtime", "the antivirus does not scan files when they are used"),
        "signatures_max_age": Younger("antivirus.signatures_at", "the antivirus signatures were made"),
        "engine": Version("antivirus.engine_version", "the antivirus engine"),
        "signatures": Version("antivirus.signatures_version", "the version of the antivirus signatures"),
        "products": OneOf("antivirus.product", "the antivirus"),
    }

    check: Literal["antivirus"]
    running: Demanded | None = None
    realtime: Demanded | None = None
    signatures_max_age: Duration | None = None
    engine: Requirement | None = None
    signatures: Requirement | None = None
    products: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Firewall(Asking):
    """The firewall refuses what nobody asked for. `enabled` is about its effect, not about a service that runs."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "turn the firewall on: sudo ufw enable, or load rules whose input chain has policy drop",
        "darwin": "open System Settings, Network, Firewall, and turn it on",
        "windows": "open Windows Security, Firewall & network protection, and turn it on for every network",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "enabled": Flag(
            "firewall.enabled", "the firewall is off: connections from outside are accepted unless a rule forbids them"
        ),
        "input_policy": OneOf("firewall.input_policy", "what the firewall does with a connection that no rule names"),
        "products": OneOf("firewall.product", "the firewall"),
    }

    check: Literal["firewall"]
    enabled: Demanded | None = None
    input_policy: Annotated[list[Literal["drop"]], Field(min_length=1)] | None = None
    products: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DiskEncryption(Asking):
    """The volumes that must be encrypted, through the whole chain beneath them."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "encrypt the disk with LUKS; on most distributions this means a new installation with encryption",
        "darwin": "open System Settings, Privacy & Security, FileVault, and turn it on",
        "windows": "open Settings, Privacy & security, Device encryption or BitLocker, and turn it on",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "root": Flag("disk.root_encrypted", "the root volume is not encrypted"),
        "home": Flag("disk.home_encrypted", "the home volume is not encrypted"),
        "swap": Flag("disk.swap_encrypted", "the swap volume is not encrypted"),
        "chain": Matches("disk.chain", "the chain beneath the root volume"),
    }

    check: Literal["disk-encryption"]
    root: Demanded | None = None
    home: Demanded | None = None
    swap: Demanded | None = None
    chain: Pattern | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ScreenLock(Asking):
    """A screen that nobody looks at locks itself, soon enough."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "lock the screen automatically: Settings, Privacy, Screen Lock",
        "darwin": "open System Settings, Lock Screen, and require the password soon after the display is off",
        "windows": "open Settings, Accounts, Sign-in options, and require a sign-in; set the screen saver to lock",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "enabled": Flag("screen.lock_enabled", "an idle screen does not lock"),
        "max_delay": Within("screen.lock_delay", "an idle screen locks after {found}s"),
    }

    check: Literal["screen-lock"]
    enabled: Demanded | None = None
    max_delay: Duration | None = None
