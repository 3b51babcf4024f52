"""CEL, the Common Expression Language, as Google's engine evaluates it. The one module that knows cel-expr-python.

An expression is compiled and typed once. Asked for an answer it gives True, False, or None when there is none: a variable
is missing, a value is of the wrong type, a number was divided by zero. Nothing is raised then, and nothing runs away:
regular expressions are RE2, and the engine stops a comprehension that goes on for too long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

_TYPE = cel.Type
BOOL, INT, DOUBLE, TEXT, TIME = _TYPE.BOOL, _TYPE.INT, _TYPE.DOUBLE, _TYPE.STRING, _TYPE.TIMESTAMP
TEXTS, MAP = _TYPE.List(_TYPE.STRING), _TYPE.Map(_TYPE.STRING, _TYPE.STRING)

_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_OURS = {"text": TEXT, "pattern": TEXT, "texts": TEXTS}


class Unsound(ValueError):
    """The text is no expression that could be evaluated. `line` and `column` count from 1 in the text."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(text)
        self.line, self.column = line, column


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression."""

    compiled: Any

    def answer(self, data: Mapping[str, Any]) -> bool | None:
        """Evaluate it. None: there is no answer, and the reason is in `complaint`."""
        value = self.compiled.eval(data=data)
        if value.type().name() != "BOOL":
            return None
        return bool(value.value())

    def complaint(self, data: Mapping[str, Any]) -> str | None:
        """Say why there is no answer, or None when there is one."""
        value = self.compiled.eval(data=data)
        if value.type().name() == "BOOL":
            return None
        return re.sub(r"^[A-Z_]+: ", "", str(value.value()))[:200]


class Language:
    """CEL with these variables, each of its type."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._environment = cel.NewEnv(variables=dict(variables))

    def program(self, text: str) -> Program:
        """Compile an expression that is true or false. Raises Unsound at its first fault."""
        try:
            compiled = self._environment.compile(text)
        except RuntimeError as error:
            raise _unsound(str(error)) from None
        if compiled.return_type().name() != "BOOL":
            raise Unsound(1, 1, f"gives {compiled.return_type().name()}; allowed is what is true or false")
        return Program(compiled)


@lru_cache(maxsize=8)
def _ours(text: str) -> Program:
    return Language(_OURS).program(text)


def holds(text: str, data: Mapping[str, Any]) -> bool:
    """Evaluate an expression of our own about `text`, `texts` and `pattern`."""
    return _ours(text).answer(data) is True


def complaint(text: str, data: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the data of an expression of our own."""
    return _ours(text).complaint(data)


def _unsound(told: str) -> Unsound:
    found = _ERROR.search(told)
    if found is None:
        return Unsound(
            1, 1, re.sub(r"\s*\[[A-Z_]+\]$", "", re.sub(r"^[A-Z_]+: ", "", told.split("\n", maxsplit=1)[0]))[:200]
        )
    return Unsound(int(found[1]), int(found[2]), re.sub(r" \(in container ''\)", "", found[3])[:200])
