"""The canonical form of a policy file: the same data and the same comments, indented by two, spaced in one way.

Works on the tokens of the text and moves nothing but white space, so that no comment, quote or order is ever lost. What it
makes is read again and compared: where the data would be another, the text stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import yaml

from gateway.errors import PolicyError
from gateway.policy.source import parse

STEP = 2
_OPEN = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
_CLOSE = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_BLOCK = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)


def formatted(text: str) -> str:
    """Give the canonical form. Text that is no policy file comes back as it is."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        before = parse(plain.encode("utf-8", "surrogatepass"), "").data
        tokens = list(yaml.scan(plain, Loader=yaml.SafeLoader))
        made = _indented(plain.split("\n"), _spaced(plain, tokens).split("\n"), tokens)
        return made if parse(made.encode("utf-8", "surrogatepass"), "").data == before else text
    except (PolicyError, yaml.YAMLError, ValueError):
        return text


# --- within a line ---


def _spaced(text: str, tokens: list[Any]) -> str:
    """Put one space, or none, between two tokens of a line."""
    written = [token for token in tokens if token.end_mark.index > token.start_mark.index]
    pieces: list[str] = []
    end = 0
    for before, after in pairwise(written):
        start, stop = before.end_mark.index, after.start_mark.index
        gap = text[start:stop]
        if before.end_mark.line == after.start_mark.line and not gap.strip(" "):
            pieces += [text[end:start], _gap(before, after)]
            end = stop
    return "".join([*pieces, text[end:]])


def _gap(before: Any, after: Any) -> str:
    if isinstance(before, _OPEN) or isinstance(after, (*_CLOSE, yaml.FlowEntryToken, yaml.ValueToken)):
        return ""
    return " "


# --- lines ---


@dataclass(slots=True)
class _Level:
    """An open block collection: the column where it stood, and where it will stand.

    `dash`: where the dashes of a list will stand that is written right below its key, without a level of its own.
    """

    was: int
    now: int
    mapping: bool
    dash: int | None = None


@dataclass(slots=True)
class _Lines:
    """For every line its shift, as far as a token says so, and for the inside of a text the line where it begins."""

    shifts: dict[int, int] = field(default_factory=dict)
    inside: dict[int, int] = field(default_factory=dict)


def _indented(lines: list[str], spaced: list[str], tokens: list[Any]) -> str:
    """Move every line of `spaced` to its place, which follows from where it stood in `lines`."""
    plan = _plan(lines, tokens)
    made: list[str] = []
    for number, line in enumerate(spaced):
        if number in plan.inside:
            made.append(_moved(line, plan.shifts.get(plan.inside[number], 0)))
        elif line.strip():
            made.append(_moved(_comment(line), _shift(lines, plan, number)).rstrip())
        elif made and made[-1]:
            made.append("")
    return "\n".join(made).strip("\n") + "\n"


def _plan(lines: list[str], tokens: list[Any]) -> _Lines:
    plan, levels, flow = _Lines(), [_Level(0, 0, mapping=False)], 0
    for token in tokens:
        line, column = token.start_mark.line, token.start_mark.column
        if isinstance(token, _BLOCK):
            now = _opens_at(levels)
            levels.append(_Level(column, now, mapping=isinstance(token, yaml.BlockMappingStartToken)))
        elif isinstance(token, yaml.BlockEndToken):
            levels.pop()
        top = levels[-1]
        if isinstance(token, yaml.KeyToken) and not flow:
            top.dash = None
        elif isinstance(token, yaml.BlockEntryToken) and top.mapping:
            top.dash = top.now + STEP
        if _begins(token, lines) and line not in plan.shifts:
            plan.shifts[line] = (top.dash if top.dash is not None else top.now) - top.was
        flow += isinstance(token, _OPEN) - isinstance(token, _CLOSE)
        if isinstance(token, yaml.ScalarToken):
            last = token.end_mark.line - (token.end_mark.column == 0)
            plan.inside.update(dict.fromkeys(range(line + 1, last + 1), line))
    return plan


def _begins(token: Any, lines: list[str]) -> bool:
    """Say whether the token is the first thing of its line."""
    wide = token.end_mark.index > token.start_mark.index
    return wide and not lines[token.start_mark.line][: token.start_mark.column].strip()


def _opens_at(levels: list[_Level]) -> int:
    """Say where a block collection will stand: two further in than what it is in, or right behind its dashes."""
    top = levels[-1]
    if len(levels) == 1:
        return 0
    first = top.dash if top.dash is not None else top.now
    # The dash of a list is at the list's own place, so what follows it on its line is a step further in.
    return first + STEP


def _shift(lines: list[str], plan: _Lines, number: int) -> int:
    """A line without a token is a comment: it moves with what it stands above, or else below."""
    if number in plan.shifts:
        return plan.shifts[number]
    column = len(lines[number]) - len(lines[number].lstrip(" "))
    following = next((n for n in range(number + 1, len(lines)) if n in plan.shifts), None)
    before = next((n for n in range(number - 1, -1, -1) if n in plan.shifts), None)
    for other in (following, before):
        if other is not None and len(lines[other]) - len(lines[other].lstrip(" ")) == column:
            return plan.shifts[other]
    near = following if following is not None else before
    return plan.shifts[near] if near is not None else -column


def _moved(line: str, shift: int) -> str:
    if shift >= 0:
        return " " * shift + line if line.strip() else line
    return line[min(-shift, len(line) - len(line.lstrip(" "))) :]


def _comment(line: str) -> str:
    """A comment begins with a space after its mark."""
    return re.sub(r"^( *)#(?=[^\s#!])", r"\1# ", line)
