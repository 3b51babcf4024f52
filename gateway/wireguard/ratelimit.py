"""Limits: handshakes per source address under load (paper section 5.3), and answers to what is refused."""

from __future__ import annotations

PACKETS_PER_SECOND = 20.0
BURST = 5.0
MAX_SOURCES = 65_536


class HandshakeLimiter:
    """A token bucket per source: IPv4 addresses one by one, IPv6 by /64, because a host owns all of that."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, tuple[float, float]] = {}
        self._swept_at = float("-inf")

    def allow(self, address: bytes, *, now: float) -> bool:
        """Take one token of `address` (4 or 16 bytes). A full table refuses strangers until it is swept."""
        source = address if len(address) == 4 else address[:8]
        if now - self._swept_at >= 1.0:
            self._sweep(now=now)
        tokens, last = self._buckets.get(source, (BURST, now))
        tokens = min(BURST, tokens + (now - last) * PACKETS_PER_SECOND)
        if tokens < 1.0 or (source not in self._buckets and len(self._buckets) >= MAX_SOURCES):
            return False
        self._buckets[source] = (tokens - 1.0, now)
        return True

    def _sweep(self, *, now: float) -> None:
        self._swept_at = now
        full = BURST / PACKETS_PER_SECOND
        self._buckets = {source: entry for source, entry in self._buckets.items() if now - entry[1] < full}


class Acquaintances:
    """Addresses of live sessions, which are served without a cookie under load: PER_SECOND of them all together.

    Who spoofs one of them spends that share at most; 50 handshakes are a twentieth of what a core answers in a second.
    """

    PER_SECOND = 50.0
    RENEWED = 1.0
    """Seconds between two looks at all peers."""

    def __init__(self) -> None:
        self._addresses: set[bytes] = set()
        self._renewed_at = float("-inf")
        self._tokens = self.PER_SECOND

    def stale(self, *, now: float) -> bool:
        return now - self._renewed_at >= self.RENEWED

    def renew(self, addresses: set[bytes], *, now: float) -> None:
        self._addresses, self._renewed_at, self._tokens = addresses, now, self.PER_SECOND

    def allow(self, address: bytes) -> bool:
        """Take one of this second's share, if the address is known."""
        if address not in self._addresses or self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class AnswerLimiter:
    """A token bucket for answers to refused packets of one peer, so that a refusal never costs more than it saves."""

    PER_SECOND = 20.0

    def __init__(self) -> None:
        self._tokens = self.PER_SECOND
        self._last = float("-inf")

    def allow(self, *, now: float) -> bool:
        """Take one token."""
        if self._last > float("-inf"):
            self._tokens = min(self.PER_SECOND, self._tokens + (now - self._last) * self.PER_SECOND)
        self._last = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class CookieLimiter(AnswerLimiter):
    """For cookie replies: what comes beyond is dropped unanswered, so that a flood leaves time for the sessions."""

    PER_SECOND = 3000.0


class Load:
    """Whether handshakes come faster than we want to answer: a leaky bucket; full, it means load for one second."""

    CAPACITY = 128.0
    PER_SECOND = 400.0

    def __init__(self) -> None:
        self._level = 0.0
        self._last = float("-inf")
        self._until = float("-inf")

    def arrived(self, *, now: float) -> bool:
        """Count one handshake message with a sound mac1 and say whether we are under load."""
        if self._last > float("-inf"):
            self._level = max(0.0, self._level - (now - self._last) * self.PER_SECOND)
        self._last = now
        self._level = min(self._level + 1.0, self.CAPACITY)
        if self._level >= self.CAPACITY:
            self._until = now + 1.0
        return now < self._until
