"""The check `expr`: a condition in CEL over the facts of the catalogue, for what no other kind of check says.

It is typed when the policy is loaded, so that a fact that does not exist is a problem with a place and not a device that
fails. Only a plain true holds. There is no `now` in it: what depends on age is said with the other kinds, which know when
their answer changes. A fact that was not reported makes the answer unknown wherever it matters, as in Kleene's logic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain
from dataclasses import field
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic.dataclasses import dataclass

from agent.catalogue import CATALOGUE, Kind
from agent.wire import Fact
from gateway.policy import cel
from gateway.policy.checks import values
from gateway.policy.checks.ask import ALWAYS, Screen
from gateway.policy.checks.check import STRICT, Leaf
from gateway.policy.checks.examination import Examination
from gateway.policy.model import Posture

LONGEST = 2_000
MOST_LOOPS = 8
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|existsOne|map|filter|transform[A-Za-z]*|sortBy)\s*\(")
_LITERAL = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|//[^\n]*""")
_NAME = re.compile(r"[a-z]+(?:\s*\.\s*[a-z0-9_]+)+")

_TYPES: dict[Kind, tuple[Any, values.Sound]] = {
    Kind.TEXT: (cel.TEXT, values.is_text),
    Kind.FLAG: (cel.BOOL, values.is_flag),
    Kind.COUNT: (cel.INT, values.is_count),
    Kind.SECONDS: (cel.DOUBLE, values.is_seconds),
    Kind.TIME: (cel.TIME, values.is_time),
    Kind.TEXTS: (cel.TEXTS, values.is_texts),
    Kind.MAP: (cel.MAP, values.is_map),
}
"""Certificates have a kind of check of their own."""

TYPED = {name: _TYPES[told.kind] for name, told in CATALOGUE.items() if told.kind in _TYPES}
"""The variables of an expression, each with its type and with what says that a value is one."""


@plain(frozen=True, slots=True)
class Condition:
    """A sound expression, and the facts whose names stand in it."""

    text: str
    program: cel.Program = field(compare=False, repr=False)
    facts: tuple[str, ...] = field(compare=False, repr=False)


def condition(written: object) -> Condition:
    """Compile it. Raises cel.Unsound, a ValueError with the place, or ValueError that says what is allowed."""
    if isinstance(written, Condition):
        return written
    if not isinstance(written, str) or not 0 < len(written) <= LONGEST:
        raise ValueError(f"is not an expression; allowed is CEL of up to {LONGEST} characters")
    program = _language().program(written)
    bare = _LITERAL.sub(lambda match: " " * len(match[0]), written)
    _bounded(bare)
    return Condition(written, program, tuple(sorted(_facts(bare))))


def _facts(bare: str) -> set[str]:
    """Name the facts: of `os.version.matches`, the longest beginning that is one."""
    found = set()
    for dotted in _NAME.findall(bare):
        parts = [part.strip() for part in dotted.split(".")]
        found |= {name for n in range(2, len(parts) + 1) if (name := ".".join(parts[:n])) in TYPED}
    return found


def _bounded(bare: str) -> None:
    """A loop over a list is short; one within another would be long enough to hold up every other session."""
    ends: list[int] = []
    loops = list(_LOOP.finditer(bare))
    if len(loops) > MOST_LOOPS:
        raise ValueError(f"has {len(loops)} loops; allowed are {MOST_LOOPS}")
    for loop in loops:
        if any(loop.start() < end for end in ends):
            line = bare.count("\n", 0, loop.start()) + 1
            raise cel.Unsound(
                line,
                loop.start() - bare.rfind("\n", 0, loop.start()),
                "is a loop within a loop; allowed is one after another",
            )
        ends.append(_closing(bare, loop.end()))


def _closing(bare: str, start: int) -> int:
    depth = 1
    for position in range(start, len(bare)):
        depth += {"(": 1, ")": -1}.get(bare[position], 0)
        if depth == 0:
            return position
    return len(bare)


@cache
def _language() -> cel.Language:
    return cel.Language({name: type_ for name, (type_, _) in TYPED.items()})


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Expression(Leaf):
    """The condition is true."""

    check: Literal["expr"]
    expr: Annotated[
        Condition,
        BeforeValidator(condition),
        PlainSerializer(lambda written: written.text),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST, "examples": ["boot.tpm_present"]}),
    ]

    def reads(self) -> list[str]:
        return list(self.expr.facts)

    def look(self, look: Examination) -> None:
        known = dict(self._known(look))
        answer = self.expr.program.answer(known)
        if answer is False:
            look.fail(f"this is not so: {self.expr.text}")
        elif answer is None:
            reason = look.lacking or self.expr.program.complaint(known)
            look.doubt(f"this cannot be told: {self.expr.text}: {reason}")

    def _known(self, look: Examination) -> Iterator[tuple[str, Any]]:
        for name in self.expr.facts:
            value = look.known(name, TYPED[name][1])
            if value is not None:
                yield name, _given(name, value)

    def quick(self) -> Screen:
        needed = [(name, TYPED[name][1]) for name in self.expr.facts]
        program = self.expr.program

        def screen(facts: Mapping[str, Fact], _now: datetime, _posture: Posture) -> datetime | None:
            known: dict[str, Any] = {}
            for name, sound in needed:
                fact = facts.get(name)
                if fact is None or fact.absent is not None or not sound(fact.value):
                    return None
                known[name] = _given(name, fact.value)
            return ALWAYS if program.answer(known) is True else None

        return screen


def _given(name: str, value: Any) -> Any:
    kind = CATALOGUE[name].kind
    if kind is Kind.TIME:
        return datetime.fromtimestamp(value, UTC)
    return float(value) if kind is Kind.SECONDS else value
