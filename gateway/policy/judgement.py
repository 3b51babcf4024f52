"""What one question about a subject comes to, before the conclusion is drawn from all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent.wire import Fact
from gateway.policy.model import Finding


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one check comes to: a finding or none, since when it fails, and when time could change that.

    `concerned` False: the check says nothing about this device. `evidence` are the facts that it looked at.
    """

    check: str
    finding: Finding | None
    since: datetime | None
    changes_at: datetime | None
    evidence: Mapping[str, Fact] = field(default_factory=dict)
    concerned: bool = True
