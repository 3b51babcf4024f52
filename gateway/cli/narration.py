"""A story of `gateway.policy.story`, written for a person and for a program.

What a device says about itself is escaped and cut: it ends up in a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.wire import Fact
from gateway.policy import durations, trial
from gateway.policy.judgement import Judgement
from gateway.policy.model import Finding
from gateway.policy.story import Event, Story

INDENT = "  "


def as_text(told: Story) -> Iterator[str]:
    """Write the story for a person, line by line."""
    decision, now = told.decision, told.decision.evaluated_at
    groups = ", ".join(sorted(told.subject.groups)) or "no group"
    yield f"{told.subject.user} of {groups}, judged by {told.policy.name} {told.policy.version[:12]} at {_at(now)}"
    yield f"tier {decision.tier}, which reaches {', '.join(decision.resources) or 'nothing'}"
    yield from _facts(told, now=now)
    yield "checks"
    yield from (f"{INDENT}passed   {name}" for name in told.passed)
    yield from (f"{INDENT}{line}" for finding in decision.findings for line in _finding(finding))
    yield from (f"{INDENT}not for  {name}: it does not concern this device" for name in told.unconcerned)
    yield from _better(told)
    yield from _next(told)


def _facts(told: Story, *, now: datetime) -> Iterator[str]:
    if told.posture is None:
        yield "facts: the device has not reported yet"
        return
    grade = told.posture.grade.name.lower().replace("_", "-")
    yield f"facts ({grade}), received {_ago(told.posture.received_at, now=now)}"
    for name, fact in told.facts.items():
        read_at = datetime.fromtimestamp(min(max(fact.observed_at, 0), 4e9), UTC)
        yield f"{INDENT}{name} = {_value(name, fact, now=now)}, read {_ago(read_at, now=now)} from {_plain(fact.source)}"


def _value(name: str, fact: Fact, *, now: datetime) -> str:
    if fact.absent is not None:
        return f"unreadable ({_plain(fact.absent)})"
    if name.endswith("_at") and type(fact.value) in (int, float) and 0 < fact.value < 4e9:
        at = datetime.fromtimestamp(fact.value, UTC)
        return f"{_at(at)} ({_ago(at, now=now)})"
    return json.dumps(fact.value)[:120]  # escapes what a terminal would obey


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{_effect(finding)} {finding.check}: {finding.reason}"
    for name in ("fix", "owner", "link"):
        if getattr(finding, name) is not None:
            yield f"         {name}: {getattr(finding, name)}"


def _effect(finding: Finding) -> str:
    if finding.effective:
        return f"FAILED   -> {finding.tier},"
    return f"in grace -> {finding.tier} at {_at(finding.grace_until)}," if finding.grace_until else "warns   "


def _better(told: Story) -> Iterator[str]:
    if told.better:
        yield "for a better tier"
    for step in told.better:
        gained = f", which adds {', '.join(step.gained)}" if step.gained else ""
        yield f"{INDENT}{step.tier}{gained}: repair {', '.join(finding.check for finding in step.repairs)}"


def _next(told: Story) -> Iterator[str]:
    if told.posture is None:
        yield "what comes next: the first report decides"
        return
    until = told.decision.valid_until
    yield f"what comes next: by time alone nothing changes before {_at(until)}" if until else "what comes next: nothing"
    if told.silent is not None:
        yield f"{INDENT}if no report comes any more"
        yield from _event(told.silent)
    if told.reporting:
        yield f"{INDENT}if reports go on with the same facts"
        yield from (line for event in told.reporting for line in _event(event))


def _event(event: Event) -> Iterator[str]:
    yield from (f"{INDENT * 2}{_at(event.at)}: {change}" for change in event.changes)


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _ago(at: datetime, *, now: datetime) -> str:
    age = now - at
    if abs(age) < timedelta(seconds=1):
        return "now"
    if age < timedelta():
        return f"{_rough(-age)} in the future"
    return f"{_rough(age)} ago"


def _rough(span: timedelta) -> str:
    """Give the largest unit alone: 26h is 1d, and nobody needs more."""
    seconds = int(span.total_seconds())
    unit = next((unit for unit in (86400, 3600, 60) if seconds >= unit), 1)
    return durations.show(timedelta(seconds=seconds - seconds % unit))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:80])


# --- for programs ---


def as_json(told: Story) -> Mapping[str, Any]:
    """Write the story for a program. Times are ISO 8601."""
    decision = told.decision
    return {
        "policy": told.policy.name,
        "version": told.policy.version,
        "user": told.subject.user,
        "groups": sorted(told.subject.groups),
        "device": told.subject.device,
        "evaluated_at": decision.evaluated_at.isoformat(),
        "valid_until": decision.valid_until.isoformat() if decision.valid_until else None,
        **trial.shown(decision),
        "facts": {name: fact.to_json() for name, fact in told.facts.items()} if told.posture else None,
        "checks": {
            judgement.check: _state(judgement) for judgement in told.judged if told.posture or judgement.finding
        },
        "better": [
            {"tier": s.tier, "repair": [f.check for f in s.repairs], "gained": list(s.gained)} for s in told.better
        ],
        "next": {
            "without_reports": _event_json(told.silent) if told.silent else None,
            "with_reports": [_event_json(event) for event in told.reporting],
        },
    }


def _state(judgement: Judgement) -> str:
    if judgement.finding is None:
        return "passed" if judgement.concerned else "not concerned"
    if judgement.finding.effective:
        return "failed"
    return "in grace" if judgement.finding.grace_until else "warns"


def _event_json(event: Event) -> dict[str, Any]:
    return {"at": event.at.isoformat(), "tier": event.tier, "changes": list(event.changes)}
