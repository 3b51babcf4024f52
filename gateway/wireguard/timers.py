"""The timers of one peer (paper section 6). Only deadlines: nothing here runs by itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields

from gateway.wireguard.spec import (
    KEEPALIVE_TIMEOUT,
    REJECT_AFTER_TIME,
    REKEY_ATTEMPT_TIME,
    REKEY_TIMEOUT,
)

NEVER = float("inf")
MAX_ATTEMPTS = int(REKEY_ATTEMPT_TIME / REKEY_TIMEOUT)


class Due(enum.Enum):
    """What is to be done, named as the field of Timers that holds its deadline."""

    LEASE = "lease"
    RETRANSMIT = "retransmit"
    UNANSWERED = "unanswered"
    KEEPALIVE = "keepalive"
    PERSISTENT = "persistent"
    ZERO = "zero"
    PACE = "pace"


@dataclass(slots=True)
class Timers:
    """Deadlines in boottime seconds.

    `lease`: access ends. `retransmit`: the initiation was not answered. `unanswered`: data was sent and nothing came
    back. `keepalive`: data came and nothing was sent back. `persistent`: the NAT in between forgets. `zero`: keys are old.
    `pace`: a packet that is held to a rate may pass.
    """

    lease: float = NEVER
    retransmit: float = NEVER
    unanswered: float = NEVER
    keepalive: float = NEVER
    persistent: float = NEVER
    zero: float = NEVER
    pace: float = NEVER

    def earliest(self) -> float:
        kept = min(self.lease, self.retransmit, self.unanswered, self.keepalive, self.persistent, self.zero)
        return min(kept, self.pace)

    def take_due(self, *, now: float) -> list[Due]:
        """Give what is due and clear it, in the order of Due; the lease comes first because it makes the rest void."""
        due = [each for each in Due if getattr(self, each.value) <= now]
        for each in due:
            if each is not Due.LEASE:
                setattr(self, each.value, NEVER)
        return due

    def stop(self) -> None:
        """Clear all but the lease."""
        for field in fields(self):
            if field.name != "lease":
                setattr(self, field.name, NEVER)

    def data_sent(self, jitter: float, *, now: float) -> None:
        if self.unanswered == NEVER:
            self.unanswered = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter

    def data_received(self, *, now: float) -> None:
        if self.keepalive == NEVER:
            self.keepalive = now + KEEPALIVE_TIMEOUT

    def sent(self, persistent: int, *, now: float) -> None:
        """Note that an authenticated datagram left; `persistent` is the configured interval, 0 for none."""
        self.keepalive = NEVER
        self.passed(persistent, now=now)

    def received(self, persistent: int, *, now: float) -> None:
        """Note that an authenticated datagram came."""
        self.unanswered = NEVER
        self.passed(persistent, now=now)

    def passed(self, persistent: int, *, now: float) -> None:
        self.persistent = now + persistent if persistent else NEVER

    def keys_derived(self, *, now: float) -> None:
        self.zero = now + 3 * REJECT_AFTER_TIME
