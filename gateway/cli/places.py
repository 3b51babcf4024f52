"""Places in files, shown as compilers do: file, line, column, what is wrong, and a caret under it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from gateway.errors import Problem

WIDTH = 110
"""Columns of a source line that are shown; the caret is among them."""


def shown(problems: Iterable[Problem], *, kind: str = "") -> Iterator[str]:
    """Write each problem with the line that it is in."""
    for problem in problems:
        yield f"{problem.file}:{problem.line}:{problem.column}: {f'{kind}: ' if kind else ''}{problem.text}"
        if problem.source.strip():
            yield from _underlined(problem.source, problem.column)


def _underlined(source: str, column: int) -> Iterator[str]:
    start = max(0, column - WIDTH + 20) if column > WIDTH - 20 else 0
    cut = source.rstrip("\r\n")[start : start + WIDTH]
    before = cut[: column - 1 - start]
    yield f"    {''.join(map(_plain, cut))}"
    yield f"    {' ' * sum(_columns(c) for c in before)}^"


def _plain(character: str) -> str:
    return character if character.isprintable() else " "


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1
