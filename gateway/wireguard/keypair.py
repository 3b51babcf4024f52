"""Transport keys and what has been received under them (paper section 5.4.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from operator import lt
from typing import Any

from gateway.wireguard.spec import REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, WINDOW


class ReplayWindow:
    """Which counters were received: each at most once, and none more than WINDOW behind the highest (RFC 6479).

    A counter that is exactly WINDOW behind still counts, as in the kernel: with the highest, WINDOW + 1 are remembered.
    """

    def __init__(self) -> None:
        self._next = 0
        self._seen = 0

    def fresh(self, counter: int) -> bool:
        """Say whether `counter` may still be accepted."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        behind = self._next - 1 - counter
        return behind < 0 or (behind <= WINDOW and not self._seen >> behind & 1)

    def ahead(self, counters: list[int]) -> bool:
        """Say whether all counters are fresh because each lies beyond everything before it: how a train arrives."""
        if len(counters) == 1:
            return self._next <= counters[0] < REJECT_AFTER_MESSAGES
        return (
            counters[0] >= self._next
            and counters[-1] < REJECT_AFTER_MESSAGES
            and all(map(lt, counters, islice(counters, 1, None)))
        )

    def accept_all(self, counters: list[int]) -> None:
        """Note authenticated counters, in the order in which they came."""
        first, last = counters[0], counters[-1]
        if first < self._next or last - first + 1 != len(counters):
            for counter in counters:
                self.accept(counter)
            return
        distance = last - self._next + 1
        kept = self._seen << distance & _ALL if distance <= WINDOW else 0
        self._seen = kept | (1 << min(len(counters), WINDOW + 1)) - 1
        self._next = last + 1

    def accept(self, counter: int) -> bool:
        """Note an authenticated counter. False, and nothing is noted, when it is not fresh."""
        if not self.fresh(counter):
            return False
        ahead = counter - self._next + 1
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _ALL if ahead <= WINDOW else 1
            self._next = counter + 1
        else:
            self._seen |= 1 << -ahead
        return True


_ALL = (1 << WINDOW + 1) - 1


@dataclass(slots=True)
class Keypair:
    """One handshake's transport keys, as the transforms made them. `created_at` in seconds; the indices are ours and theirs."""

    sending: Any
    receiving: Any
    local: int
    remote: int
    created_at: float
    is_initiator: bool
    counter: int = 0
    window: ReplayWindow = field(default_factory=ReplayWindow)
    heard: int = 0
    said: int = 0
    """Bytes of the handshake that made a responder's keys: they count once the initiator has proved to be there."""

    def take(self, count: int) -> int:
        """Reserve `count` counters and give the first: no counter is ever given twice."""
        first = self.counter
        self.counter += count
        return first

    def can_send(self, *, now: float) -> bool:
        return now - self.created_at < REJECT_AFTER_TIME and self.counter < REJECT_AFTER_MESSAGES

    def can_receive(self, *, now: float) -> bool:
        return now - self.created_at < REJECT_AFTER_TIME

    def wants_rekey(self, after: float, *, now: float) -> bool:
        """Say whether it is time for new keys, `after` seconds from the start being the initiator's limit."""
        if self.counter >= REKEY_AFTER_MESSAGES:
            return True
        return self.is_initiator and now - self.created_at >= after
