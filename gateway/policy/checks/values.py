"""What the value of a fact may be, by its kind. What is of another shape was not reported, whatever it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST = 1_000_000_000
"""No honest count is larger, and no span of seconds either way."""

LATEST = 4_000_000_000
"""Unix seconds in the year 2096; what lies beyond is not a date that anybody meant."""

LONGEST = 200
"""Characters of a text."""

MOST_MEMBERS = 1_000
"""Members of a list or a mapping."""

Sound = Callable[[Any], bool]


def is_flag(value: Any) -> bool:
    return value is True or value is False


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and -MOST <= value <= MOST


def is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < LATEST


def is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_MEMBERS and all(map(is_text, value))


def is_map(value: Any) -> bool:
    small = isinstance(value, dict) and len(value) <= MOST_MEMBERS
    return small and all(is_text(name) and is_text(member) for name, member in value.items())


def is_certificates(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_MEMBERS and all(map(_is_certificate, value))


def _is_certificate(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = all(is_text(value.get(name)) for name in ("subject", "issuer", "sha256"))
    return texts and is_time(value.get("not_before")) and is_time(value.get("not_after"))


def is_custom(value: Any) -> bool:
    if not isinstance(value, dict) or not is_text(value.get("sha256")):
        return False
    said = value.get("value")
    return is_flag(said) or is_text(said) or is_seconds(said)


CALLED: dict[Sound, str] = {
    is_flag: "true or false",
    is_count: f"a whole number up to {MOST}",
    is_seconds: "a number of seconds",
    is_time: "a time in Unix seconds",
    is_text: "a short text",
    is_texts: "a list of short texts",
    is_map: "short texts by name",
    is_certificates: "a list of certificates",
    is_custom: "a value with the SHA-256 of what stated it",
}
"""How each is called in a reason."""
