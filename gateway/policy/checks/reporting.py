"""Checks on the reporting itself: how old the report is, and which agent made it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from gateway.policy.checks.check import STRICT, Check, Duration, Outcome, Requirement
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReportAge(Check):
    """The last report is young, by the gateway's clock: a device cannot make its own report younger."""

    default_fixes: ClassVar[Mapping[str, str]] = {
        "linux": "start the agent: sudo systemctl start sallyport-agent",
        "darwin": "start the Sallyport agent",
        "windows": "start the Sallyport agent",
    }

    check: Literal["report-age"]
    max_age: Duration

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        look.younger("the last report came", posture.received_at, self.max_age)
        return look.outcome()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AgentVersion(Check):
    """The agent is new enough to tell the truth about the other facts."""

    default_fixes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("linux", "darwin", "windows"), "install a Sallyport agent that is $minimum"
    )

    facts: ClassVar[tuple[str, ...]] = ("agent.version",)

    check: Literal["agent-version"]
    minimum: Requirement

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        look = Examination(posture, now=now)
        look.version("agent.version", self.minimum, "the agent's version")
        return look.outcome(minimum=self.minimum.text)
