"""Pydantic's verdict on a file, said in the words of whoever wrote the file: place, value, what is allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.errors import Problem
from gateway.policy.cel import Unsound
from gateway.policy.source import Path, Source

T = TypeVar("T")

KeysAt = Callable[[Path], Sequence[str]]
"""Lists the keys that the mapping at one of pydantic's error locations may have."""

_KINDS = {
    "string_type": "must be a text; put it in quotes if it looks like a number",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "dataclass_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_too_short": "is empty; allowed is a text",
}


def validate(adapter: TypeAdapter[T], source: Source, keys_at: KeysAt) -> T | None:
    """Make the value, or add to `source.problems` everything that is wrong with it."""
    try:
        return adapter.validate_python(source.data)
    except ValidationError as error:
        source.problems += [_problem(source, detail, keys_at) for detail in error.errors(include_url=False)]
        return None


def _problem(source: Source, detail: Mapping[str, Any], keys_at: KeysAt) -> Problem:
    tag = (detail["ctx"]["discriminator"].strip("'"),) if detail["type"] == "union_tag_invalid" else ()
    path = _written(source, detail["loc"] + tag)
    unknown = detail["type"] in ("unexpected_keyword_argument", "extra_forbidden")
    shown = ".".join(str(part) for part in path)
    text = _text(detail, keys_at)
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Unsound) and path in source.values:
        return source.inside(path, error.line, error.column, f"{shown}: {error}")
    return source.problem(path, f"{shown}: {text}" if shown else text, at_key=unknown or "[key]" in detail["loc"])


def _written(source: Source, location: Path) -> Path:
    """Keep of pydantic's location what stands in the file: it also names the members of unions that it tried."""
    path: Path = ()
    for part in location:
        if (*path, part) in source.values:
            path = (*path, part)
    return path


def _text(detail: Mapping[str, Any], keys_at: KeysAt) -> str:
    location, value, context = detail["loc"], detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"is not a key; allowed are {', '.join(keys_at(location[:-1])) or 'none here'}"
        case "literal_error":
            return f"{_shown(value)} is unknown; allowed is {context['expected'].replace(chr(39), '')}".lstrip()
        case "missing":
            return f"needs the key {location[-1]}"
        case "union_tag_not_found":
            return f"needs the key {context['discriminator']}"
        case "union_tag_invalid":
            return f"{_shown(context['tag'])} is unknown; allowed are {context['expected_tags'].replace(chr(39), '')}"
        case "too_short":
            return f"has {context['actual_length']} entries; allowed are {context['min_length']} or more"
        case "too_long" | "string_too_long":
            return f"is too long; allowed are {context['max_length']}"
        case "greater_than_equal" | "less_than_equal":
            return f"{_shown(value)} is out of range; allowed is {detail['msg'].removeprefix('Input should be ')}"
        case "value_error":
            return f"{_shown(value)} {context['error']}".lstrip()
        case kind:
            return _KINDS.get(kind, str(detail["msg"]))


def keys(described: type | None) -> list[str]:
    """List the keys of the mapping that a dataclass describes."""
    return [field.name for field in dataclasses.fields(described)] if described else []


def _shown(value: object) -> str:
    """Write a value as it stands in the file; of collections nothing, their place says enough."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if isinstance(value, dict | list) else repr(value)[:80]
