"""What the agent says about itself: to a person in a terminal, and in the status file for other programs.

Connected means that a packet came back just now, and nothing else: neither a session nor a handshake of some time ago.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agent.answers import Finding, StepUp, Verdict
from agent.state import State
from agent.tunnel import Tunnel
from agent.wire import Enrolment

WORDS: Final = {
    "connected": "connected",
    "unreachable": "connected, but the gateway does not answer the agent",
    "login-required": "not connected: a login is needed",
    "denied": "not connected: the policy denies this device",
    "pending": "not connected: the device waits for an administrator's approval",
    "revoked": "not connected: an administrator has revoked this device",
    "refused": "not connected: the gateway refused",
    "ended": "not connected: the session has ended",
    "starting": "starting",
}
"""What a person reads for each state."""
TUNNELLED: Final = ("connected", "unreachable")
"""States in which the tunnel is up; whether it carries anything is another question."""
NEXT: Final = {
    "login-required": "log in: sallyport-agent login",
    "denied": "what is wrong is listed below; the agent asks again every 30 s and the moment something changes",
    "refused": "the agent tries again by itself",
    "ended": "the agent opens a new session by itself",
    "unreachable": "the agent tries again by itself, at least every 15 s",
    "starting": "the first facts are being collected",
}


class StatusBoard:
    """Publishes the running agent's status."""

    def __init__(self, state: State, enrolment: Enrolment, tunnel: Tunnel, unwatched: Sequence[str]) -> None:
        self._state = state
        self._enrolment = enrolment
        self._tunnel = tunnel
        self._unwatched = unwatched
        self._latest: tuple[str, str | None] = ("", None)
        self._since = time.time()
        self._tier: tuple[str | None, float] = (None, time.time())
        self._lease_until = 0.0

    def publish(self, state: str, *, verdict: Verdict | None = None, problem: str | None = None) -> bool:
        """Publish. Says whether the state or the problem is another one than before."""
        news = self._latest != (state, problem)
        if news:
            self._latest, self._since = (state, problem), time.time()
        if state == "connected" and verdict is not None:
            self._lease_until = time.time() + verdict.lease_ms / 1000
        tier = verdict.tier if verdict else None
        if tier != self._tier[0]:
            self._tier = tier, time.time()
        self._state.keep_status({**self._members(state, problem, verdict), "tier_since": self._tier[1]})
        return news

    def _members(self, state: str, problem: str | None, verdict: Verdict | None) -> dict[str, Any]:
        standing = self._tunnel.footprint.standing
        peer = self._tunnel.peer()
        return {
            "state": state,
            "since": self._since,
            "updated_at": time.time(),
            "pid": os.getpid(),
            "lease_until": self._lease_until,
            "gateway": self._enrolment.gateway,
            "user": self._enrolment.user,
            "device": self._enrolment.device,
            "interface": self._tunnel.interface,
            "backend": self._tunnel.backend,
            "routes": list(self._tunnel.routes),
            "dns": list(self._tunnel.dns),
            "handshake_at": peer.last_handshake if peer else None,
            "problem": problem,
            "verdict": verdict.to_json() if verdict else None,
            "protected": list(standing.prefixes) if standing else [],
            "shortcomings": list(self._tunnel.footprint.shortcomings),
            "unwatched": list(self._unwatched),
        }


def changes(before: Verdict, verdict: Verdict) -> Iterator[str]:
    """The lines that tell a person what a new verdict changes; none when nothing does."""
    if before.tier != verdict.tier or before.sequence == 0:
        reach = ", ".join(resource.name for resource in verdict.resources) or "nothing"
        yield f"tier {verdict.tier}: {reach}"
    known = {(finding.check, finding.reason, finding.effective) for finding in before.findings}
    for finding in verdict.findings:
        if (finding.check, finding.reason, finding.effective) not in known:
            yield from explained(finding)
    shut = {step.resource for step in before.step_up}
    for step in verdict.step_up:
        if step.resource not in shut:
            yield f"  {step.resource} is closed: {asked(step)}"
    failing = {finding.check for finding in verdict.findings}
    for finding in before.findings:
        if finding.check not in failing:
            yield f"  resolved: {finding.check}"


def asked(step: StepUp) -> str:
    """What opens it."""
    kind = f" of the class {' or '.join(step.acr_values)}" if step.acr_values else ""
    age = f", at most {step.max_age // 60} minutes old" if step.max_age is not None else ""
    return f"it needs a login{kind}{age}: sallyport-agent login --for {step.resource}"


def explained(finding: Finding) -> Iterator[str]:
    """The lines about one finding: what, with which effect, and how to fix it."""
    if finding.effective:
        effect = f"leads to {finding.tier}"
    elif finding.grace_until is not None:
        effect = f"will lead to {finding.tier} at {clock(finding.grace_until)}"
    else:
        effect = "a warning"
    yield f"  {finding.check}: {finding.reason} ({effect})"
    if finding.fix:
        yield f"    fix: {finding.fix}"


def picture(status: Mapping[str, Any], verdict: Verdict | None, beat: float | None, *, now: float) -> Iterator[str]:
    """The screen of `sallyport-agent status`. `beat` is how long a packet took there and back, None when none came."""
    yield headline(status, beat, now=now)
    yield f"gateway   {status['gateway']} as {status['user']}"
    yield f"tunnel    {tunnel_line(status, beat)}"
    if status.get("problem"):
        yield f"problem   {status['problem']}"
    if verdict is not None:
        yield from _access(verdict, float(status.get("tier_since") or status["since"]))
    for line in status.get("shortcomings") or ():
        yield f"protect   incomplete: {line}"
    if blocked := status.get("protected"):
        yield f"protect   {', '.join(blocked[:6])}{' …' if len(blocked) > 6 else ''}: through the tunnel or not at all"
    for line in coming(status, verdict, now=now):
        yield f"next      {line}"


def _access(verdict: Verdict, since: float) -> Iterator[str]:
    yield f"tier      {verdict.tier} since {clock(since)}"
    for resource in verdict.resources:
        yield f"reaches   {resource.name}: {', '.join(resource.destinations)} {' '.join(resource.ports)}".rstrip()
    for step in verdict.step_up:
        yield f"closed    {step.resource}: {asked(step)}"
    if not verdict.findings:
        yield "findings  none"
    for finding in verdict.findings:
        what, *fix = explained(finding)
        yield f"{what}, since {clock(finding.since)}"
        yield from fix


def headline(status: Mapping[str, Any], beat: float | None, *, now: float) -> str:
    """Connected or not, by packets; and since when it has been so by what the agent knows."""
    state = str(status.get("state"))
    since = clock(float(status["since"]))
    if connected(status, beat, now=now):
        return f"{WORDS[state]} since {since}"
    if state == "connected":
        return f"not connected: there is a session since {since}, but no packet comes back"
    if state == "unreachable":
        return f"not connected: the gateway cannot be reached since {since}"
    return f"{WORDS.get(state, 'not connected')} since {since}"


def tunnel_line(status: Mapping[str, Any], beat: float | None) -> str:
    """Whether packets flow, in words."""
    name = f"{status.get('interface')} ({status.get('backend') or 'down'})"
    if not status.get("backend"):
        return f"{name}, no tunnel"
    handshake = status.get("handshake_at")
    keys = f", keys of {clock(handshake)}" if isinstance(handshake, int | float) and handshake else ", no keys yet"
    return f"{name}{keys}, " + (
        "no packet came back within 2 s" if beat is None else f"a packet came back after {beat * 1000:.0f} ms"
    )


def coming(status: Mapping[str, Any], verdict: Verdict | None, *, now: float) -> Iterator[str]:
    """What happens next, and when."""
    state = str(status.get("state"))
    if state in NEXT:
        yield NEXT[state]
    lease = status.get("lease_until")
    if state in TUNNELLED and isinstance(lease, int | float) and lease > now:
        yield f"{clock(lease)}: access ends unless the gateway hears from this machine before (it does every few seconds)"
    if verdict is None:
        return
    for finding in sorted(verdict.findings, key=lambda f: f.grace_until or 0.0):
        if not finding.effective and finding.grace_until is not None:
            yield f"{clock(finding.grace_until)}: tier {finding.tier}, unless {finding.check} is fixed"
    if verdict.expires_at is not None:
        yield f"{clock(verdict.expires_at)}: the session ends; a new one needs a login that is still fresh"


def connected(status: Mapping[str, Any], beat: float | None, *, now: float) -> bool:
    """Whether packets flow: one came back just now, through a tunnel whose lease has not ended."""
    lease = status.get("lease_until")
    live = status.get("state") in TUNNELLED and isinstance(lease, int | float) and now < lease
    return live and beat is not None


def clock(at: float) -> str:
    """A local time that a person reads."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
