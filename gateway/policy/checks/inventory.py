"""Checks on what is on the device: people, programs, files, certificates, networks, and the agent itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict, StringConstraints
from pydantic.dataclasses import dataclass

from gateway.policy.checks.ask import Ask
from gateway.policy.checks.asks import (
    Certified,
    Empty,
    Excludes,
    Fingerprints,
    Flag,
    Hashes,
    Includes,
    NoneMatches,
    OneOf,
    Only,
    SomeMatches,
)
from gateway.policy.checks.check import STRICT, Asking, Demanded, Pattern
from gateway.policy.checks.system import Texts
from gateway.policy.names import Text

Sha256 = Annotated[str, Strict(), StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Hash = Annotated[str, Strict(), StringConstraints(pattern=r"^([0-9a-f]{64}|absent)$")]
"""`absent`: the file does not exist."""
Endpoint = Annotated[str, Strict(), StringConstraints(pattern=r"^(tcp|udp)/[1-9][0-9]{0,4}$")]
AnyTexts = list[Text]
"""A set of accepted texts, which may be none."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Administrators(Asking):
    """Who may become root or administrator."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "take the others out of the group sudo or wheel: sudo gpasswd -d NAME sudo",
        "darwin": "open System Settings, Users & Groups, and make the others standard users",
        "windows": "take the others out of the group Administrators: net localgroup Administrators NAME /delete",
    }
    asks: ClassVar[Mapping[str, Ask]] = {
        "only": Only("users.administrators", "the administrators"),
        "with_password": Empty("users.without_password", "these become administrator without a password"),
    }

    check: Literal["administrators"]
    only: AnyTexts | None = None
    with_password: Demanded | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Domain(Asking):
    """The directory that the machine belongs to."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "joined": Flag("domain.joined", "the machine belongs to no directory"),
        "kinds": OneOf("domain.kind", "the kind of directory"),
        "names": OneOf("domain.name", "the directory"),
        "mdm_enrolled": Flag("domain.mdm_enrolled", "the system is not managed by an MDM"),
    }

    check: Literal["domain"]
    joined: Demanded | None = None
    kinds: Texts | None = None
    names: Texts | None = None
    mdm_enrolled: Demanded | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Processes(Asking):
    """Which programs run, by the path of their file."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "running": Includes("processes.executables", "these do not run"),
        "running_like": SomeMatches("processes.executables", "no program runs like"),
        "none_of": Excludes("processes.executables", "these must not run"),
        "none_like": NoneMatches("processes.executables", "these must not run"),
    }

    check: Literal["processes"]
    running: Texts | None = None
    running_like: Pattern | None = None
    none_of: Texts | None = None
    none_like: Pattern | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Files(Asking):
    """What is in files that the device's configuration lists, by SHA-256."""

    asks: ClassVar[Mapping[str, Ask]] = {"sha256": Hashes("files.sha256", "the file")}

    check: Literal["files"]
    sha256: Annotated[dict[Text, Annotated[list[Hash], Field(min_length=1)]], Field(min_length=1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Certificates(Asking):
    """Certificates of the device, and the authorities that somebody added to the system's own."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "issued_by": Certified("certificates.device"),
        "extra_roots": Fingerprints("certificates.extra_roots", "authorities that were added and are not accepted"),
    }

    check: Literal["certificates"]
    issued_by: Texts | None = None
    extra_roots: list[Sha256] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Network(Asking):
    """What the device offers to its network, and what it is told by it."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "listening_only": Only("network.listening", "open to others"),
        "not_listening": Excludes("network.listening", "these must not be open to others"),
        "programs": Hashes("network.listening_programs", "the program behind"),
        "gateways": Only("network.gateways", "the gateways"),
        "dns_servers": Only("network.dns_servers", "the name servers"),
        "no_captive_portal": Flag("network.captive_portal", "the network wants a login in a browser first", good=False),
    }

    check: Literal["network"]
    listening_only: list[Endpoint] | None = None
    not_listening: Annotated[list[Endpoint], Field(min_length=1)] | None = None
    programs: Annotated[dict[Endpoint, Texts], Field(min_length=1)] | None = None
    gateways: Texts | None = None
    dns_servers: Texts | None = None
    no_captive_portal: Demanded | None = None
