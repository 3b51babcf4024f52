"""Checks on what others say about the device: its MDM, its EDR, the gateway itself, and facts that an organisation adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict, StringConstraints, Tag
from pydantic.dataclasses import dataclass

from gateway.policy import versions
from gateway.policy.checks.ask import Ask, Screen, unsure
from gateway.policy.checks.asks import AtMost, Empty, Flag, Hashes, InNetworks, OneOf, Only, Version, Within, Younger
from gateway.policy.checks.check import STRICT, Asking, Check, Count, Demanded, Duration, Leaf, Pattern, Requirement
from gateway.policy.checks.examination import Examination
from gateway.policy.checks.inventory import AnyTexts, Sha256
from gateway.policy.checks.system import Texts
from gateway.policy.checks.values import MOST
from gateway.policy.names import Text
from gateway.policy.networks import Network


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Mdm(Asking):
    """What the MDM says of the device."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "enrolled": Flag("mdm.enrolled", "the MDM does not manage this device"),
        "compliant": Flag("mdm.compliant", "the MDM says that the device is not compliant"),
        "seen_max_age": Younger("mdm.seen_at", "the device was last seen by the MDM"),
        "failing_only": Only("mdm.failing_policies", "policies of the MDM that fail"),
        "disk_encrypted": Flag("mdm.disk_encrypted", "the MDM says that the disk is not encrypted"),
        "os_minimum": Version("mdm.os_version", "the version of the system, by the MDM,"),
        "products": OneOf("mdm.product", "the MDM"),
    }

    check: Literal["mdm"]
    enrolled: Demanded | None = None
    compliant: Demanded | None = None
    seen_max_age: Duration | None = None
    failing_only: AnyTexts | None = None
    disk_encrypted: Demanded | None = None
    os_minimum: Requirement | None = None
    products: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Edr(Asking):
    """What the EDR's own cloud says of the device."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "running": Flag("edr.running", "the EDR does not hear its sensor"),
        "seen_max_age": Younger("edr.seen_at", "the sensor was last heard by the EDR"),
        "threats": AtMost("edr.threats", "{found} threats are open, and {limit} are allowed"),
        "products": OneOf("edr.product", "the EDR"),
    }

    check: Literal["edr"]
    running: Demanded | None = None
    seen_max_age: Duration | None = None
    threats: Count | None = None
    products: Texts | None = None


Pcr = Annotated[str, Strict(), StringConstraints(pattern=r"^(1?[0-9]|2[0-3])$")]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Tpm(Asking):
    """What the device's TPM vouches for, in a quote that the gateway has verified for this very report."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "attested": Flag("tpm.attested", "no TPM vouches for the device"),
        "pcrs": Hashes("tpm.pcrs", "PCR"),
    }

    check: Literal["tpm"]
    attested: Demanded | None = None
    pcrs: Annotated[dict[Pcr, Annotated[list[Sha256], Field(min_length=1)]], Field(min_length=1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Seen(Asking):
    """What the gateway sees for itself."""

    asks: ClassVar[Mapping[str, Ask]] = {
        "consistent": Empty("seen.contradictions", "what the device says is contradicted"),
        "networks": InNetworks("seen.address", "the device's address"),
        "os_families": OneOf("seen.os_family", "the system that its packets look like"),
        "max_clock_skew": Within("seen.clock_skew", "the device's clock is wrong by {found}s"),
        "updates_max_age": Younger("seen.updates_at", "the device last spoke to an update server"),
    }

    check: Literal["seen"]
    consistent: Demanded | None = None
    networks: Annotated[list[Network], Field(min_length=1)] | None = None
    os_families: Texts | None = None
    max_clock_skew: Duration | None = None
    updates_max_age: Duration | None = None


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return value


Value = Annotated[
    Annotated[bool, Strict(), Tag("flag")] | Annotated[Text, Tag("text")],
    Discriminator(lambda value: "flag" if isinstance(value, bool) else "text"),
]
CUSTOM_KEYS = ("equals", "one_of", "matches", "at_least", "at_most", "version")
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False), BeforeValidator(_number)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Custom(Leaf):
    """A fact that an executable or a file of the organisation states. It counts only from one whose hash is accepted."""

    check: Literal["custom"]
    name: Annotated[str, Strict(), StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    sha256: Annotated[list[Sha256], Field(min_length=1)]
    equals: Value | None = None
    one_of: Texts | None = None
    matches: Pattern | None = None
    at_least: Number | None = None
    at_most: Number | None = None
    version: Requirement | None = None
    """Of a package, by the rules of the distribution."""

    def __post_init__(self) -> None:
        if all(getattr(self, key) is None for key in CUSTOM_KEYS):
            raise ValueError(f"asks for nothing; it needs at least one of {', '.join(CUSTOM_KEYS)}")
        Check.__post_init__(self)

    def reads(self) -> list[str]:
        return [f"custom.{self.name}", *(["os.distribution"] if self.version is not None else [])]

    def look(self, look: Examination) -> None:
        fact = f"custom.{self.name}"
        found = look.custom(fact)
        if found is None:
            return
        if found["sha256"] not in self.sha256:
            look.doubt(f"{fact} was stated by something whose SHA-256 is not accepted")
            return
        self._judge(look, fact, found["value"])

    def _judge(self, look: Examination, fact: str, value: Any) -> None:
        if self.equals is not None and (type(value) is not type(self.equals) or value != self.equals):
            look.fail(f"{fact} is {_plain(value)}, and {_plain(self.equals)} is required")
        if self.one_of is not None and value not in self.one_of:
            look.fail(f"{fact} is {_plain(value)}, and only {', '.join(sorted(self.one_of))} are accepted")
        if self.matches is not None and not (isinstance(value, str) and self.matches.matches(value)):
            look.fail(f"{fact} is {_plain(value)}, which does not match {self.matches.text}")
        if self.version is not None:
            self._package(look, fact, value, self.version)
        countable = type(value) in (int, float)
        if self.at_least is not None and not (countable and value >= self.at_least):
            look.fail(f"{fact} is {_plain(value)}, and at least {_plain(self.at_least)} is required")
        if self.at_most is not None and not (countable and value <= self.at_most):
            look.fail(f"{fact} is {_plain(value)}, and at most {_plain(self.at_most)} is allowed")

    def _package(self, look: Examination, fact: str, value: Any, wanted: versions.Requirement) -> None:
        distribution = look.text("os.distribution")
        try:
            if distribution is not None and not wanted.met_by(str(value), versions.scheme_of(distribution)):
                look.fail(f"{fact} is {_plain(value)}, and {wanted.text} is required")
        except ValueError:
            look.doubt(f"{fact} is {_plain(value)}, which is not a version")

    def quick(self) -> Screen:
        return unsure


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
