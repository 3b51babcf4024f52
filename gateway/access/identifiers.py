"""Names that nobody can guess, and secrets kept as their digest."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable

Entropy = Callable[[int], bytes]
"""Gives that many random bytes; supplied by the composition root."""

FORM = re.compile(r"[A-Za-z0-9_-]{22,64}")


def new_identifier(entropy: Entropy) -> str:
    """Make an identifier of 192 random bits, in base64url."""
    return urlsafe_b64encode(entropy(24)).decode()


def new_secret(entropy: Entropy) -> str:
    """Make a secret of 256 random bits, in base64url without padding."""
    return urlsafe_b64encode(entropy(32)).decode().rstrip("=")


def digest(secret: str) -> str:
    """SHA-256 in hex: what is stored of a secret. A 256-bit secret needs no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_identifier(text: str) -> bool:
    """Say whether `text` has the form of an identifier; anything else is not even looked up."""
    return FORM.fullmatch(text) is not None
