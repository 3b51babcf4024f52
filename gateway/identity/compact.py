"""The compact serialisation of a signed token (RFC 7515 section 7.1), read strictly, before any key is looked at.

Two texts never mean the same token here: base64url without padding, without unused bits, without foreign characters.
This file knows no key, no claim and no clock.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.identity import strict_json

LARGEST_HEADER = 4096
"""Bytes of the encoded header. Ours have 150, those of providers with a certificate thumbprint 300."""

LARGEST_SIGNATURE = 2048
"""Bytes of the encoded signature. RSA with 8,192 bits has 1,366."""


@dataclass(frozen=True, slots=True)
class CompactJws:
    """What a token says of itself. Nothing in it is verified."""

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """Read the payload as a JSON object. Raises ValueError."""
        try:
            return strict_json.loads_object(self.payload)
        except ValueError as error:
            raise ValueError(f"the payload {error}") from None


def parse(token: bytes, *, largest: int) -> CompactJws:
    """Take a token apart; `largest` is its greatest length in bytes. Raises ValueError, and nothing else."""
    if len(token) > largest:
        raise ValueError(f"the token has {len(token)} bytes, allowed are {largest}")
    parts = token.split(b".")
    if len(parts) != 3:
        raise ValueError(f"a compact JWS has three parts, this has {len(parts)}")
    if len(parts[0]) > LARGEST_HEADER or len(parts[2]) > LARGEST_SIGNATURE:
        raise ValueError("the header or the signature is longer than any honest one")
    header, payload, signature = (_decode(part) for part in parts)
    return CompactJws(_header(header), payload, token[: len(token) - len(parts[2]) - 1], signature)


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def base64url_decode(text: str | bytes) -> bytes:
    """Decode the one canonical text of some bytes. Raises ValueError for every other text."""
    return _decode(text.encode() if isinstance(text, str) else text)


def _decode(part: bytes) -> bytes:
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("a part is not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise ValueError("a part is not in its canonical base64url form")
    return data


def _header(data: bytes) -> dict[str, Any]:
    try:
        return strict_json.loads_object(data)
    except ValueError as error:
        raise ValueError(f"the header {error}") from None
