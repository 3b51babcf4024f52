"""`sallyport-agent bugreport`: one text with all that helps to find a fault, and nothing that gives access.

Secrets are kept out twice: files that hold them are not read, and what is collected is searched for whatever looks like one.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from agent.doctor import examine
from agent.guard import ROUTES, TABLE
from agent.state import State
from agent.wire import AGENT_VERSION

REMOVED: Final = "[removed]"
PATIENCE: Final = 15.0
LARGEST: Final = 200_000
"""Characters of one section."""
COMMANDS: Final = (
    ("uname", "-a"),
    ("cat", "/etc/os-release"),
    ("ip", "address"),
    ("ip", "rule"),
    ("ip", "route"),
    ("ip", "route", "show", "table", str(ROUTES)),
    ("ip", "-6", "rule"),
    ("ip", "-6", "route", "show", "table", str(ROUTES)),
    ("nft", "list", "table", "inet", TABLE),
    ("wg", "show"),
    ("resolvectl", "status"),
    ("cat", "/etc/resolv.conf"),
    ("systemctl", "status", "--no-pager", "sallyport-agent.service"),
    ("journalctl", "--no-pager", "--lines=300", "--unit=sallyport-agent.service"),
)
"""None of these is asked for keys; `wg show` hides the private one by itself."""
TELLING_NAMES: Final = (
    r"(?:private|preshared|device|secret|api|access|session|cookie)[_ -]?key|password|passwd|passphrase|secret|token|nonce"
    r"|authorization|cookie"
)
_PEM = re.compile(r"-----BEGIN [^-]{1,60}-----.*?(?:-----END [^-]{1,60}-----|\Z)", re.DOTALL)
_JOSE = re.compile(r"\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,4}")
_NAMED = re.compile(
    rf"(?i)(?P<name>[\"']?\b[\w-]*(?:{TELLING_NAMES})[\"']?\s*[=:]\s*)(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"']+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic|sallyport|dpop)\s+[A-Za-z0-9._~+/=-]{8,}")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"(?<=\?)[^\s\"'<>]{4,}")
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43})(?![A-Za-z0-9+/_-])")
"""32 bytes in hexadecimal or base64: what keys look like. Public ones go too, for nobody can tell them apart."""


def redact(text: str) -> str:
    """The text without what could give access."""
    text = _PEM.sub(REMOVED, text)
    text = _JOSE.sub(REMOVED, text)
    text = _SCHEME.sub(lambda found: f"{found[1]} {REMOVED}", text)
    text = _NAMED.sub(lambda found: f"{found['name']}{REMOVED}", text)
    text = _USERINFO.sub(f"{REMOVED}@", text)
    text = _QUERY.sub(REMOVED, text)
    return _LONG.sub(REMOVED, text)


def write(state: State, facts: Callable[[], dict[str, Any]]) -> str:
    """The whole report. `facts` reads those that would be sent."""
    return "\n".join(f"=== {redact(name)}\n{redact(text)[:LARGEST]}\n" for name, text in _sections(state, facts))


def _sections(state: State, facts: Callable[[], dict[str, Any]]) -> Iterator[tuple[str, str]]:
    yield "sallyport-agent", f"version {AGENT_VERSION}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
    yield "doctor", "\n".join(f"{seen.line()}{f'; next: {seen.fix}' if seen.fix else ''}" for seen in examine(state))
    yield "status", json.dumps(state.status(), indent=2)
    yield "footprint", _text(state.folder / "footprint.json")
    for command in COMMANDS:
        yield " ".join(command), _output(command)
    yield "facts", json.dumps(facts(), indent=2)


def _text(file: Any) -> str:
    try:
        return str(file.read_text(errors="replace"))
    except OSError as error:
        return f"({error.strerror})"


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return done.stdout + done.stderr
