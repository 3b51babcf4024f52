"""What a check asks, in a few words: for the reasons of the checks that it is a part of."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from gateway.policy import durations
from gateway.policy.checks.check import Check
from gateway.policy.checks.expression import Condition
from gateway.policy.patterns import Pattern
from gateway.policy.versions import Requirement

MOST_SHOWN = 160
"""Characters of one description."""

_COMMON = frozenset(field.name for field in dataclasses.fields(Check)) | {"check", "of"}
_BETWEEN = {"any-of": " or ", "all-of": " and "}


def described(check: Check) -> str:
    """Say what a check asks: `antivirus (running, signatures_max_age 3d)`."""
    kind = str(getattr(check, "check", type(check).__name__))
    own = {field.name: getattr(check, field.name) for field in dataclasses.fields(check) if field.name not in _COMMON}
    asked = [_asked(name, value) for name, value in own.items() if value is not None]
    inner = sorted({described(part) for part in check.parts})
    return _cut(f"{kind} ({_BETWEEN.get(kind, ', ').join(inner or asked)})")


def _asked(name: str, value: Any) -> str:
    return name if value is True else f"{name} {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, timedelta):
        return durations.show(value)
    if isinstance(value, Requirement | Pattern | Condition):
        return value.text
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(value[name])}" for name in sorted(value))
    return ", ".join(sorted(map(_plain, value))) if isinstance(value, list) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
