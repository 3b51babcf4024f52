"""Secrets at rest, and secrets that a browser keeps for us: sealed with AES-GCM under the gateway's own key.

Each seal is for one purpose, which is bound into it: nothing that was sealed for one can stand in for another.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.identity.compact import base64url, base64url_decode

NONCE_SIZE = 12


def seal(secret: bytes, key: bytes, context: bytes, *, entropy: Callable[[int], bytes]) -> str:
    """Encrypt under `key` (16 or 32 bytes) into printable text."""
    nonce = entropy(NONCE_SIZE)
    return base64url(nonce + AESGCM(key).encrypt(nonce, secret, context))


def unseal(sealed: str, key: bytes, context: bytes) -> bytes:
    """Give back what `seal` took. Raises ValueError for anything else."""
    data = base64url_decode(sealed)
    try:
        return AESGCM(key).decrypt(data[:NONCE_SIZE], data[NONCE_SIZE:], context)
    except InvalidTag:
        raise ValueError("it was not sealed here, or for something else") from None
