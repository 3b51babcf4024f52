"""Regular expressions that cannot run away: RE2, by way of the CEL engine, in time that grows with the text alone.

A pattern describes a text as a whole. One that may stand anywhere in it begins and ends with `.*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.policy import cel

LONGEST = 500
ALLOWED = "a regular expression as RE2 reads it, which describes the whole text, for example .*/(nmap|masscan)"

_ONE = "text.matches(pattern)"
_ANY = "texts.exists(text, text.matches(pattern))"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that is known to be one."""

    text: str
    whole: str = field(compare=False, repr=False)

    def matches(self, text: str) -> bool:
        """Say whether it describes the text from beginning to end."""
        return cel.holds(_ONE, {"text": text, "pattern": self.whole})

    def matches_any(self, texts: Sequence[str]) -> bool:
        return cel.holds(_ANY, {"texts": list(texts), "pattern": self.whole})


def pattern(written: Any) -> Pattern:
    """Read it. Raises ValueError that says what is wrong or allowed."""
    if isinstance(written, Pattern):
        return written
    if not isinstance(written, str) or not 0 < len(written) <= LONGEST:
        raise ValueError(f"is not a pattern; allowed is {ALLOWED}")
    whole = rf"\A(?:{written})\z"
    problem = cel.complaint(_ONE, {"text": "", "pattern": written}) or cel.complaint(
        _ONE, {"text": "", "pattern": whole}
    )
    if problem:
        raise ValueError(f"is not a pattern: {problem}; allowed is {ALLOWED}")
    return Pattern(written, whole)
