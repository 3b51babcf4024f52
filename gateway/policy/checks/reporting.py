"""Checks on the reporting itself: how old the report is, and which agent made it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from agent.wire import Fact
from gateway.policy.checks.ask import Ask, Screen
from gateway.policy.checks.asks import Flag, OneOf, Version
from gateway.policy.checks.check import STRICT, Asking, Demanded, Duration, Leaf, Requirement
from gateway.policy.checks.examination import CLOCK_SKEW, Examination
from gateway.policy.checks.inventory import Sha256
from gateway.policy.model import Posture


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReportAge(Leaf):
    """The last report is young, by the gateway's clock: a device cannot make its own report younger."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "start the agent: sudo systemctl start sallyport-agent",
        "darwin": "start the Sallyport agent",
        "windows": "start the Sallyport agent",
    }

    check: Literal["report-age"]
    max_age: Duration

    def reads(self) -> list[str]:
        return []

    def look(self, look: Examination) -> None:
        look.younger("the last report came", look.received_at, self.max_age)

    def quick(self) -> Screen:
        limit = self.max_age

        def screen(_facts: Mapping[str, Fact], now: datetime, posture: Posture) -> datetime | None:
            end = posture.received_at + limit
            return end if now < end and posture.received_at <= now + CLOCK_SKEW else None

        return screen


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AgentVersion(Asking):
    """The agent is new enough to tell the truth about the other facts."""

    default_fixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("linux", "darwin", "windows"), "install a Sallyport agent that is $minimum"
    )
    asks: ClassVar[Mapping[str, Ask]] = {"minimum": Version("agent.version", "the agent's version")}

    check: Literal["agent-version"]
    minimum: Requirement


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AgentIntegrity(Asking):
    """The agent is the one that was installed: its own word, so worth what its evidence is."""

    default_fixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("linux", "darwin", "windows"), "install the Sallyport agent again"
    )
    asks: ClassVar[Mapping[str, Ask]] = {
        "unchanged": Flag("agent.integrity", "a file of the agent differs from what was installed"),
        "digests": OneOf("agent.digest", "the digest of the agent"),
    }

    check: Literal["agent-integrity"]
    unchanged: Demanded | None = None
    digests: Annotated[list[Sha256], Field(min_length=1)] | None = None
