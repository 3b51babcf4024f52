"""What a check saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent.wire import Fact


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check saw. No reasons: it passed. `changes_at`: when time alone could make the answer another one.

    `refuted` tells a check that is known not to hold from one of which too little is known. Both fail; only the first
    makes a `not` around it hold.
    """

    reasons: tuple[str, ...]
    changes_at: datetime | None
    evidence: Mapping[str, Fact]
    values: Mapping[str, str] = field(default_factory=dict)
    refuted: bool = False
