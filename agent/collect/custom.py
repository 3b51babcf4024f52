"""Facts of the organisation's own, from files and programs that the device's list names with their SHA-256.

What hashes to something else than the list names is not run. Running is the platform's business (`linux/sealed.py`); where it
knows no way to run exactly what was hashed, only files are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.collect.local import Custom, check_owner
from agent.collect.reading import Unreadable, content, text
from agent.wire import Fact

LARGEST: Final = 8 << 20
LARGEST_ANSWER: Final = 4096


Run = Callable[[Custom, bytes], bytes]


def collect(customs: Mapping[str, Custom], run: Run, *, now: float) -> dict[str, Fact]:
    """One fact for each: `custom.<name>`, an object with `value` and `sha256`."""
    return {f"custom.{name}": _fact(custom, run, now) for name, custom in sorted(customs.items())}


def cannot_run(custom: Custom, _data: bytes) -> bytes:
    """Raise Unreadable: the answer of a platform that runs nothing."""
    raise Unreadable(f"{custom.path}: on this platform custom facts come from files, not from programs")


def _fact(custom: Custom, run: Run, now: float) -> Fact:
    try:
        check_owner(custom.path)
        data = content(custom.path, largest=LARGEST)
        found = hashlib.sha256(data).hexdigest()
        if custom.run and found != custom.sha256:
            raise Unreadable(f"{custom.path} has another SHA-256 than the list names, and was not run")
        answer = run(custom, data) if custom.run else data
        return Fact({"value": parse_answer(answer), "sha256": found}, str(custom.path), now)
    except Unreadable as error:
        return Fact(None, str(custom.path), now, str(error)[:200])


def parse_answer(data: bytes) -> Any:
    """Read a JSON text, number, true or false, or else the first line as it is. Raises Unreadable when there is none."""
    said = data[:LARGEST_ANSWER].decode("utf-8", "replace").strip()
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        value = said.split("\n")[0]
    if isinstance(value, str):
        value = text(value)
    if not isinstance(value, str | bool | int | float) or (isinstance(value, int | float) and not abs(value) < 1e15):
        raise Unreadable("the answer is no text, number, true or false")
    return value
