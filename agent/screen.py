"""`sallyport-agent status`: once, again and again, or for programs. Needs no privilege where the agent is installed as a service."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from agent import answers
from agent.pulse import beats
from agent.state import State
from agent.status import TUNNELLED, connected, picture

AGAIN: Final = 2.0
"""Seconds between two looks of `--watch`."""
CLEAR: Final = "\x1b[H\x1b[2J"


def show(state: State, *, as_json: bool) -> int:
    """Show once. Gives the exit status: 0 when packets flow."""
    status = state.status()
    if status is None:
        print(_stopped(state, as_json=as_json))
        return 1
    beat, now = _beat(status), time.time()
    flowing = connected(status, beat, now=now)
    if as_json:
        answered = None if beat is None else round(beat * 1000, 1)
        print(json.dumps({**status, "connected": flowing, "answered_ms": answered}, indent=2))
    else:
        print(_text(status, beat, now=now))
    return 0 if flowing else 1


def watch(state: State) -> int:
    """Show until Ctrl-C: on a terminal the whole screen, elsewhere what has changed."""
    before = ""
    while True:
        status = state.status()
        text = _stopped(state, as_json=False) if status is None else _text(status, _beat(status), now=time.time())
        if sys.stdout.isatty():
            print(f"{CLEAR}{text}", flush=True)
        elif text != before:
            print(f"{text}\n", flush=True)
        before = text
        time.sleep(AGAIN)


def _beat(status: Mapping[str, Any]) -> float | None:
    if status.get("state") not in TUNNELLED:
        return None
    return beats(str(status.get("interface")), [str(route) for route in status.get("routes") or ()])


def _text(status: Mapping[str, Any], beat: float | None, *, now: float) -> str:
    verdict = answers.verdict(status["verdict"]) if status.get("verdict") else None
    return "\n".join(picture(status, verdict, beat, now=now))


def _stopped(state: State, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"state": "stopped", "connected": False})
    return f"not connected: the agent is not running; {state.enrolment().gateway}"
