"""What a fixture file may say, as pydantic sees it: a user, a posture, a time, and what must come out.

Read as strictly as a policy is; `suite.py` puts the files together and resolves the names that they use.
"""

from __future__ import annotations

import re
from dataclasses import field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag
from pydantic.dataclasses import dataclass

from gateway.policy.checks import FACTS
from gateway.policy.checks.check import STRICT, Demanded, Duration, Grade
from gateway.policy.document import Country
from gateway.policy.names import Device, Group, Name, Text
from gateway.policy.networks import Host
from gateway.policy.source import Path
from gateway.policy.validation import keys

CUSTOM = r"custom\.[a-z][a-z0-9-]{0,39}"
UNREPORTED = "none"
"""The posture of a device that has not reported."""

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""When a fixture is judged that names no time: the same instant on every machine and every day."""


def _fact(name: str) -> str:
    if name not in FACTS and not re.fullmatch(CUSTOM, name):
        raise ValueError(f"is no fact that a check reads; allowed are {', '.join(FACTS)}")
    return name


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("is no address; allowed is for example 192.0.2.7 or 2001:db8::7") from None


def _scalar(value: object) -> object:
    listed = isinstance(value, list) and all(isinstance(member, str) for member in value)
    if not listed and not isinstance(value, str | int | float):
        raise ValueError(
            "must be a text, a number, true, false, a list of texts, or one of {ago: 2h}, {ahead: 2h}, {exactly: …}, "
            "{unreadable: why}, {missing: true}"
        )
    return value


def instant(text: object) -> datetime:
    """Read a time in UTC. Raises ValueError that says what is allowed."""
    if not isinstance(text, str) or not re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text):
        raise ValueError("is not a time; allowed is UTC, for example 2026-03-01T12:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time; there is no such day or hour") from None


def _one_or_other(scalar: str, mapping: str) -> Discriminator:
    return Discriminator(lambda value: mapping if isinstance(value, dict) else scalar)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Unusual:
    """A fact that is a time before or after the judgement, is no plain value, could not be read, or was not reported."""

    ago: Duration | None = None
    ahead: Duration | None = None
    exactly: Any = None
    unreadable: Text | None = None
    missing: Demanded | None = None

    def __post_init__(self) -> None:
        said = (self.ago, self.ahead, self.exactly, self.unreadable, self.missing)
        if sum(value is not None for value in said) != 1:
            raise ValueError("needs one of ago, ahead, exactly, unreadable and missing")


Said = Annotated[
    Annotated[Any, AfterValidator(_scalar), Tag("value")] | Annotated[Unusual, Tag("unusual")],
    _one_or_other("value", "unusual"),
]
Address = Annotated[str, Strict(), AfterValidator(_address)]
FactName = Annotated[str, AfterValidator(_fact)]
Facts = dict[FactName, Said]
Instant = Annotated[datetime, BeforeValidator(instant)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class User:
    """Who asks, from where, and by which login. `logged_in` is how long ago; without it the login's age is not known."""

    name: Text
    groups: list[Group] = field(default_factory=list)
    tags: list[Name] = field(default_factory=list)
    address: Address | None = None
    country: Country | None = None
    logged_in: Duration | None = None
    acr: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expectation:
    """What must come out. `findings` are all of them, those that only warn included; left out, they are not compared."""

    tier: Name
    findings: list[Name] | None = None
    reachable: list[Text] = field(default_factory=list)
    unreachable: list[Text] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Fixture:
    """One expectation: this user with this posture, at this time."""

    name: Text
    user: User
    posture: Annotated[Annotated[Name, Tag("name")] | Annotated[Facts, Tag("facts")], _one_or_other("name", "facts")]
    expect: Expectation
    but: Facts = field(default_factory=dict)
    device: Device | None = None
    names: dict[Host, list[Text]] = field(default_factory=dict)
    evidence: dict[FactName, Grade] = field(default_factory=dict)
    at: Instant = BEGINNING
    report_age: Duration = timedelta()
    failing_for: dict[Name, Duration] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FixtureFile:
    """Fixtures, and the postures that fixtures of the folder begin with."""

    postures: dict[Name, Facts] = field(default_factory=dict)
    fixtures: Annotated[list[Fixture], Field(min_length=1)] | None = None


def keys_at(path: Path) -> list[str]:
    """List the keys that the mapping at a pydantic error location may have."""
    return keys(_class_at(path))


def _class_at(path: Path) -> type | None:
    match path:
        case ():
            return FixtureFile
        case ("fixtures", _):
            return Fixture
        case ("fixtures", _, "user"):
            return User
        case ("fixtures", _, "expect"):
            return Expectation
        case (*_, "unusual"):
            return Unusual
    return None
