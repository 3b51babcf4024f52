"""What things may be called: names of the policy's own, and the names that others gave to groups, devices and people."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Strict, StringConstraints, WithJsonSchema

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DEVICE = r"^[A-Za-z0-9_-]{43}$"
"""An RFC 7638 thumbprint (SHA-256), as `sallyport-agent status --json` shows it."""
LINK = r"^https://[!-~]+$"
LONGEST_LINK = 500


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError("is not a name; allowed are up to 63 of a-z 0-9 . _ - beginning with a letter or digit")
    return text


def _foreign(kind: str, text: str) -> str:
    sound = 0 < len(text) <= 200 and text.isprintable() and text == text.strip()
    if not sound or unicodedata.normalize("NFC", text) != text:
        raise ValueError(f"is not {kind}; allowed are up to 200 printable characters (NFC) without space around them")
    if unicodedata.normalize("NFKC", text) != text:
        raise ValueError(
            f"is not {kind}; it holds a character that only looks like others, such as a full-width letter"
        )
    alike = sorted({script for c in text if c.isalpha() and (script := _script(c)) in _ALIKE})
    if len(alike) > 1:
        raise ValueError(f"is not {kind}; it mixes letters of {' and '.join(alike)} that look alike")
    return text


_ALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"}
"""Scripts with letters that nobody can tell from those of another: а, ο and a are three letters."""


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _group(text: str) -> str:
    return _foreign("a group", text)


def _owner(text: str) -> str:
    return _foreign("an owner", text)


def _device(text: str) -> str:
    if not re.fullmatch(DEVICE, text):
        raise ValueError(
            "is not a device; allowed is its id of 43 characters, as `sallyport-agent status --json` shows it"
        )
    return text


def _link(text: str) -> str:
    """People click on it: one site, in plain sight, encrypted."""
    allowed = f"is not a link; allowed is https:// and a host, without a login, up to {LONGEST_LINK} ASCII characters"
    if not re.fullmatch(LINK, text) or len(text) > LONGEST_LINK:
        raise ValueError(allowed)
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and "@" not in parts.netloc and "\\" not in text and parts.port != 0
    except ValueError:
        raise ValueError(allowed) from None
    if not sound:
        raise ValueError(allowed)
    return text


Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1000)]
Name = Annotated[str, Strict(), AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME})]
Group = Annotated[str, Strict(), AfterValidator(_group)]
Owner = Annotated[str, Strict(), AfterValidator(_owner)]
Device = Annotated[str, Strict(), AfterValidator(_device), WithJsonSchema({"type": "string", "pattern": DEVICE})]
Link = Annotated[
    str, Strict(), AfterValidator(_link), WithJsonSchema({"type": "string", "pattern": LINK, "maxLength": LONGEST_LINK})
]
Platform = Literal["linux", "darwin", "windows"]
PLATFORMS: tuple[Platform, ...] = ("linux", "darwin", "windows")
