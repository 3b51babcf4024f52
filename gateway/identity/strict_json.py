"""JSON from strangers: one meaning or none.

RFC 8259 leaves duplicate members, huge numbers and lone surrogates to the reader, and two readers that differ are a way
around a check. Here each of them is refused, and so is what a database or a log cannot hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

LARGEST_INTEGER = 2**53 - 1
"""Beyond it a double rounds, and readers disagree (RFC 8259 section 6)."""

DEEPEST = 32


def loads_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError that says what is wrong; never anything else."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(f"is nested deeper than {DEEPEST} levels") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    for text in _texts(value):
        _storable(text)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("has a member twice")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("has a number beyond all bounds")
    return number


def _bounded(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"has an integer beyond ±{LARGEST_INTEGER}")
    return int(digits)


def _texts(root: dict[str, Any]) -> Iterator[str]:
    """Yield every name and string below the root, level by level: no depth can exhaust the stack."""
    level: list[Any] = [root]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                yield from value
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return
        level = below
    raise ValueError(f"is nested deeper than {DEEPEST} levels")


def _storable(text: str) -> None:
    if "\0" in text:
        raise ValueError("has a NUL character in a string")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has a lone surrogate in a string")
