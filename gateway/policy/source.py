"""YAML to plain data, with the line and column of every key and value.

The subset of YAML that people write by hand: mappings with text keys, lists, scalars by the rules of YAML 1.2 (so `yes`
is a text and `012` is twelve, as editors show them). Anchors, aliases, tags and several documents are refused: they save a
few lines and hide what a reviewer has to see, or unfold to more than memory holds. Everything is bounded before it is built.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.errors import PolicyError, Problem

MAX_BYTES = 1 << 20
"""A policy of 5,000 rules is half of it; parsing this much takes about a second."""
MAX_NODES = 100_000
MAX_DEPTH = 16
MAX_SCALAR = 4096
MAX_LINE = 1000
"""Of a line what is kept to be shown beside a problem."""

Path = tuple[str | int, ...]
Place = tuple[int, int]

# libyaml where PyYAML was built with it: ten times faster. The events are the same.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Source:
    """One file: its data, and where each part of it stands. `problems` are those that did not stop the reading."""

    name: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=lambda: {(): (1, 1)})
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def problem(self, path: Path, text: str, *, at_key: bool = False) -> Problem:
        """Make the problem of what stands at `path`, or of the nearest thing around it that is written down."""
        while path not in self.values:
            path = path[:-1]
        line, column = self.keys.get(path, self.values[path]) if at_key else self.values[path]
        return self.at(line, column, text)

    def inside(self, path: Path, line: int, column: int, text: str) -> Problem:
        """Make the problem of a place within the text that stands at `path`, counted from 1 in that text."""
        first, begin = self.values[path]
        written = self.lines[first - 1][begin - 1 : begin] if first <= len(self.lines) else ""
        if written in ("|", ">"):
            following = self.lines[first:]
            indent = next((len(one) - len(one.lstrip()) for one in following if one.strip()), 0)
            return self.at(min(first + line, len(self.lines)), indent + column, text)
        if line > 1:
            return self.at(first, begin, text)
        return self.at(first, begin + column - 1 + (written in ("'", '"')), text)

    def at(self, line: int, column: int, text: str) -> Problem:
        """Make the problem of a place, with the line that stands there."""
        return _shown(self.name, line, column, text, self.lines)


def parse(raw: bytes, name: str) -> Source:
    """Read one YAML document. Raises PolicyError when there is no telling what is meant."""
    text = _text(raw, name)
    builder = _Builder(Source(name, lines=text.split("\n")))
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise PolicyError(_syntax(error, text, name)) from None
    except yaml.YAMLError as error:
        raise PolicyError(Problem(name, 1, 1, f"is not YAML: {error}"[:300])) from None
    return builder.source


def _text(raw: bytes, name: str) -> str:
    if len(raw) > MAX_BYTES:
        raise PolicyError(Problem(name, 1, 1, f"has {len(raw)} bytes or more; allowed are {MAX_BYTES} in one file"))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise PolicyError(Problem(name, *place, "is not UTF-8; save the file as UTF-8")) from None
    # What an editor does not show, a reviewer does not see: control characters and the marks that reorder text.
    hidden = re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]",
        text.replace("\r\n", " \n"),
    )
    if hidden:
        before_text = text[: hidden.start()]
        place = before_text.count("\n") + 1, hidden.start() - before_text.rfind("\n")
        problem = f"holds the invisible character U+{ord(hidden[0]):04X}; allowed is plain text"
        raise PolicyError(_shown(name, *place, problem, text.split("\n")))
    return text


def _syntax(error: yaml.MarkedYAMLError, text: str, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.split("\n")
    if line < len(lines) and lines[line][column : column + 1] == "\t":
        return _shown(name, line + 1, column + 1, "is indented with a tab; allowed are spaces", lines)
    context = f" {error.context}" if error.context else ""
    return _shown(name, line + 1, column + 1, f"is not YAML: {error.problem}{context}"[:300], lines)


def _shown(name: str, line: int, column: int, text: str, lines: list[str]) -> Problem:
    """Keep the line beside the problem, so that whoever shows it can point; control characters would move the pointer."""
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    return Problem(name, line, column, text, "".join(c if c.isprintable() else " " for c in source[:MAX_LINE]))


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled."""

    path: Path
    content: dict[str, Any] | list[Any]
    key: str | None = None


class _Builder:
    """Fills a Source from parser events, without recursion and without ever holding more than the bounds allow."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._open: list[_Open] = []
        self._documents = 0
        self._nodes = 0
        self._unnamed = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "begins a second document; allowed is one in a file")
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, "is an alias; allowed is to write it out")
        elif isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _node(self, event: Any) -> None:
        self._bound(event)
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.content, dict) and parent.key is None:
            self._key(parent, event)
            return
        value = (
            self._scalar(event)
            if isinstance(event, yaml.ScalarEvent)
            else {}
            if isinstance(event, yaml.MappingStartEvent)
            else []
        )
        path = self._attach(parent, value)
        self.source.values[path] = _place(event)
        if isinstance(value, dict | list):
            self._open.append(_Open(path, value))

    def _bound(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, f"holds more than {MAX_NODES} keys and values; split the policy into several files")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self._refuse(event, "has an anchor; allowed is to write it out")
        if event.tag is not None:
            self._refuse(event, "has a tag; allowed are plain texts, numbers, true, false, lists and mappings")

    def _key(self, parent: _Open, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "is a list or mapping used as a key; allowed is text")
        key = event.value[:MAX_SCALAR]
        path = (*parent.path, key)
        if path in self.source.keys:
            first = self.source.keys[path][0]
            self._note(event, f"repeats the key {key[:80]!r} of line {first}; allowed is once")
            self._unnamed += 1
            parent.key = f"{key}\x00{self._unnamed}"  # no document can hold this name, so the first one stays
            return
        self.source.keys[path] = _place(event)
        parent.key = key

    def _attach(self, parent: _Open | None, value: Any) -> Path:
        if parent is None:
            self.source.data = value
            return ()
        if isinstance(parent.content, list):
            parent.content.append(value)
            return (*parent.path, len(parent.content) - 1)
        key, parent.key = parent.key, None
        assert key is not None
        if "\x00" not in key:
            parent.content[key] = value
        return (*parent.path, key)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if len(text) > MAX_SCALAR:
            self._note(event, f"has {len(text)} characters; allowed are {MAX_SCALAR}")
            return text[:MAX_SCALAR]
        if not event.implicit[0]:
            return text
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return self._number(event, int(text[:20]), len(text) <= 16)
        if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", text):
            return self._number(event, float(text), math.isfinite(float(text)))
        if text in ("null", "~", ""):
            self._note(event, "has no value; allowed is to give it one, or to leave the key out")
            return None
        return {"true": True, "false": False}.get(text, text)

    def _number(self, event: Any, number: float, sound: bool) -> float:
        if not sound:
            self._note(event, "is too large a number; allowed are at most 15 digits")
        return number if sound else 0

    def _note(self, event: Any, text: str) -> None:
        self.source.problems.append(self.source.at(*_place(event), text))

    def _refuse(self, event: Any, text: str) -> None:
        raise PolicyError(*self.source.problems, self.source.at(*_place(event), text))


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1
