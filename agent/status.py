"""What the agent says about itself: to a person in a terminal, and in the status file for other programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agent.answers import Finding, Verdict
from agent.state import State
from agent.tunnel import HANDSHAKE_FRESH, Tunnel
from agent.uapi import PeerState
from agent.wire import Enrolment

WORDS: Final = {
    "connected": "connected",
    "unreachable": "the gateway cannot be reached; the tunnel stays up until its lease ends",
    "login-required": "not connected: a login is needed",
    "denied": "not connected: the policy denies this device",
    "pending": "not connected: the device waits for an administrator's approval",
    "revoked": "not connected: an administrator has revoked this device",
    "refused": "not connected: the gateway refused",
    "ended": "not connected: the session has ended",
    "starting": "starting",
}
"""What a person reads for each state."""


class StatusBoard:
    """Publishes the running agent's status in the state folder."""

    def __init__(self, state: State, enrolment: Enrolment, tunnel: Tunnel, unwatched: Sequence[str]) -> None:
        self._state = state
        self._enrolment = enrolment
        self._tunnel = tunnel
        self._unwatched = list(unwatched)
        self._latest: tuple[str, str | None] = ("", None)
        self._since = time.time()
        self._lease_until = 0.0

    def publish(self, state: str, *, verdict: Verdict | None = None, problem: str | None = None) -> bool:
        """Publish. Says whether the state or the problem is another one than before."""
        news = self._latest != (state, problem)
        if news:
            self._latest, self._since = (state, problem), time.time()
        if state == "connected" and verdict is not None:
            self._lease_until = time.time() + verdict.lease_ms / 1000
        self._state.keep_status(
            {
                "state": state,
                "since": self._since,
                "updated_at": time.time(),
                "lease_until": self._lease_until,
                "gateway": self._enrolment.gateway,
                "user": self._enrolment.user,
                "device": self._enrolment.device,
                "interface": self._tunnel.interface,
                "backend": self._tunnel.backend,
                "problem": problem,
                "verdict": verdict.to_json() if verdict else None,
                "unwatched": self._unwatched,
            }
        )
        return news


def changes(before: Verdict, verdict: Verdict) -> Iterator[str]:
    """The lines that tell a person what a new verdict changes; none when nothing does."""
    if before.tier != verdict.tier or before.sequence == 0:
        reach = ", ".join(resource.name for resource in verdict.resources) or "nothing"
        yield f"tier {verdict.tier}: {reach}"
    known = {(finding.check, finding.reason, finding.effective) for finding in before.findings}
    for finding in verdict.findings:
        if (finding.check, finding.reason, finding.effective) not in known:
            yield from explained(finding)
    failing = {finding.check for finding in verdict.findings}
    for finding in before.findings:
        if finding.check not in failing:
            yield f"  resolved: {finding.check}"


def explained(finding: Finding) -> Iterator[str]:
    """What is wrong, what follows from it, and the fix."""
    if finding.effective:
        effect = f"leads to {finding.tier}"
    elif finding.grace_until is not None:
        effect = f"will lead to {finding.tier} at {clock(finding.grace_until)}"
    else:
        effect = "a warning"
    yield f"  {finding.check}: {finding.reason} ({effect})"
    if finding.fix:
        yield f"    fix: {finding.fix}"


def picture(status: Mapping[str, Any], verdict: Verdict | None, peer: PeerState | None, *, now: float) -> Iterator[str]:
    """The screen of `sallyport-agent status`: connected or not by packets, the tier, what is wrong and the fix."""
    state = str(status.get("state"))
    if state == "connected" and not connected(status, peer, now=now):
        yield f"not connected: there is a session since {clock(float(status['since']))}, but no packets flow"
    else:
        yield f"{WORDS.get(state, 'not connected')} since {clock(float(status['since']))}"
    yield f"gateway   {status['gateway']} as {status['user']}"
    yield f"tunnel    {tunnel_line(status, peer, now=now)}"
    if status.get("problem"):
        yield f"problem   {status['problem']}"
    if verdict is None:
        return
    yield f"tier      {verdict.tier}" + (f" (decision {verdict.trace})" if verdict.trace else "")
    for resource in verdict.resources:
        where = ", ".join(resource.destinations)
        yield f"reaches   {resource.name}: {where} {' '.join(resource.ports)}".rstrip()
    if not verdict.findings:
        yield "findings  none"
    for finding in verdict.findings:
        yield from explained(finding)


def tunnel_line(status: Mapping[str, Any], peer: PeerState | None, *, now: float) -> str:
    """Whether packets flow, in words."""
    name = f"{status.get('interface')} ({status.get('backend') or 'down'})"
    if peer is None:
        return f"{name}, no tunnel"
    if not flows(peer, now=now):
        return f"{name}, no packet from the gateway in the last {HANDSHAKE_FRESH} s"
    age = max(0, int(now - peer.last_handshake))
    return f"{name}, keys {age} s old, {peer.rx_bytes} bytes in, {peer.tx_bytes} bytes out"


def connected(status: Mapping[str, Any], peer: PeerState | None, *, now: float) -> bool:
    """Whether packets flow: the gateway took the last report, its lease has not ended, and the tunnel has live keys."""
    lease = status.get("lease_until")
    live = status.get("state") == "connected" and isinstance(lease, int | float) and now < lease
    return live and flows(peer, now=now)


def flows(peer: PeerState | None, *, now: float) -> bool:
    """Whether the tunnel has live keys: the other end has answered with packets."""
    return peer is not None and peer.rx_bytes > 0 and now - peer.last_handshake < HANDSHAKE_FRESH


def clock(at: float) -> str:
    """A local time that a person reads."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
