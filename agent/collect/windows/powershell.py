"""Windows, asked through PowerShell, whose answers come as JSON: one script for each subject, no text of ours in any of them.

Nothing in this package was ever run on Windows. What the scripts ask for is documented; the parsers are tested on answers
composed after the documentation.
"""

from __future__ import annotations

import json
from typing import Any, Final

from agent.collect.reading import Unreadable, command
from agent.collect.reading import text as plain
from agent.wire import Fact

PROGRAM: Final = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
BEFORE: Final = "$ErrorActionPreference='Stop'; $ProgressPreference='SilentlyContinue'; [Console]::OutputEncoding=[Text.Encoding]::UTF8; "
PATIENCE: Final = 60.0
Values = dict[str, Any]


def ask(script: str, timeout: float = PATIENCE) -> str:
    """Run a script of this package and give the JSON that it writes. Raises Unreadable."""
    words = (
        PROGRAM,
        "-NoLogo",
        "-NoProfile",
        "-NonInteractive",
        "-Command",
        f"{BEFORE}{script} | ConvertTo-Json -Depth 4",
    )
    return command(*words, timeout=timeout)


def members(said: str) -> Values:
    """Read one object. Raises Unreadable."""
    found = _json(said)
    if not isinstance(found, dict):
        raise Unreadable("PowerShell gave no object")
    return found


def rows(value: object) -> list[Values]:
    """A list of objects: PowerShell writes a list of one as the one, and an empty one as nothing."""
    found: list[Any] = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in found):
        raise Unreadable("PowerShell gave a list of something else")
    return found


def strings(value: object) -> list[str]:
    """A list of texts, in the same way."""
    found = [] if value is None else value if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, str)]


def text(value: object) -> str | None:
    return plain(value) if isinstance(value, str) else None


def flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def facts(names: tuple[str, ...], values: Values, source: str, now: float) -> dict[str, Fact]:
    """Facts by their names; what the values do not have is absent."""
    return {
        name: Fact(value, source, now, None if value is not None else f"{source} does not say")
        for name in names
        for value in [values.get(name)]
    }


def _json(said: str) -> Any:
    try:
        return json.loads(said.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise Unreadable("PowerShell gave no JSON") from None
