"""The ratchet: how two copies of one device key betray each other. Pure.

Every answer gives the device a nonce, and whatever it signs next (a session's opening, a report) presents it. The gateway
knows two: the current one, and the one before, which comes again when an answer was lost on its way. A message that brings
the earlier one is answered with a new current nonce, and the one that was lost is dead. So of two copies that have gone
on from the same state, the second to speak makes the first one's nonce dead, and the first one's next message shows it:
no machine that is alone ever presents a nonce that is neither.

What is delayed on the network must prove nothing. A message that is not newer than the last accepted one, by the device's
own clock, may be its replay or an earlier try: it is refused and means nothing more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Turn(enum.Enum):
    """What a signed message is, by the nonce that it presents."""

    NEXT = "it follows the last answer"
    AGAIN = "the last answer was lost"
    LATE = "it was sent before the last accepted one"
    FORK = "somebody else speaks with this key"


@dataclass(frozen=True, slots=True)
class Ratchet:
    """Where a device stands. Without a `current` nonce the next message is believed whatever it presents: the device is
    new, or an administrator has just decided that it is the right one. `said_at` is by the device's clock."""

    current: str | None = None
    previous: str | None = None
    said_at: datetime | None = None

    def turn(self, nonce: str, *, said_at: datetime) -> Turn:
        """Say what a message is that presents `nonce`."""
        if self.current is None or nonce == self.current:
            return Turn.NEXT
        if self.said_at is not None and said_at <= self.said_at:
            return Turn.LATE
        return Turn.AGAIN if nonce == self.previous else Turn.FORK

    def advanced(self, nonce: str, fresh: str, *, said_at: datetime) -> Ratchet:
        """Give the ratchet after a message that presented `nonce` was accepted and answered with `fresh`."""
        return Ratchet(fresh, nonce, said_at)
