"""A snapshot: the fleet at one moment as JSON lines, so that a plan can be made where no gateway is.

The first line says what it is and when; every further line is one session. Lines are read and written one at a time. It holds
names of users and the facts of their machines: whoever may read it knows what an administrator knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from gateway.policy.plan import Live
from gateway.policy.question import Question, instant, moment

FORMAT = "sallyport fleet 1"
LONGEST_LINE = 1 << 20


def lines(fleet: Iterable[Live], *, at: datetime) -> Iterator[str]:
    """Write the fleet, line by line; the last one says that nothing is missing."""
    yield _line({"format": FORMAT, "at": instant(at)})
    count = 0
    for live in fleet:
        yield _line(to_json(live))
        count += 1
    yield _line({"end": count})


def read(lines: Iterable[str]) -> tuple[datetime, Iterator[Live]]:
    """Give the moment of a snapshot and its sessions. Raises ValueError that names the line and what is allowed."""
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, ""))
    header = _members(1, first)
    if header.get("format") != FORMAT:
        raise ValueError("line 1 is not the head of a snapshot; allowed is what `sallyport policy snapshot` wrote")
    try:
        at = moment(str(header.get("at")))
    except ValueError as error:
        raise ValueError(f"line 1 names no time: {error}") from None
    return at, _sessions(numbered)


def _sessions(numbered: Iterator[tuple[int, str]]) -> Iterator[Live]:
    number = 1
    for number, line in numbered:
        members = _members(number, line)
        if members.keys() == {"end"}:
            if members["end"] != number - 2 or next(numbered, None) is not None:
                break
            return
        yield _live(number, members)
    raise ValueError(f"line {number} is not the end of a whole snapshot: it was cut, or put together by hand")


def to_json(live: Live) -> dict[str, Any]:
    """Write one session."""
    return {
        "session": live.session,
        "user": live.user,
        "device": live.device,
        "device_name": live.device_name,
        "tier": live.tier,
        "resources": list(live.resources),
        "permits": list(live.permits),
        "findings": sorted([check, effective] for check, effective in live.findings),
        "rate": live.rate,
        "active_at": instant(live.active_at),
        "over": live.over,
        "question": live.question.to_json() if live.question else None,
    }


def _live(number: int, members: dict[str, Any]) -> Live:
    try:
        return Live(
            session=str(members["session"]),
            user=str(members["user"]),
            device=str(members["device"]),
            device_name=str(members["device_name"]),
            tier=str(members["tier"]),
            resources=tuple(members["resources"]),
            permits=tuple(members["permits"]),
            findings=frozenset((check, effective) for check, effective in members["findings"]),
            rate=members["rate"],
            active_at=moment(members["active_at"]),
            question=Question.from_json(members["question"]) if members["question"] else None,
            over=bool(members["over"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"line {number} is not a session of a snapshot: {type(error).__name__}: {error}") from None


def _members(number: int, line: str) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"line {number} is longer than {LONGEST_LINE} characters")
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise ValueError(f"line {number} is not a JSON object")
    return members


def _line(members: dict[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=True) + "\n"
