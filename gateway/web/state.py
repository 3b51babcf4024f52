"""The state directory: one gateway at a time, and the keys that it keeps."""

from __future__ import annotations

import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.access.identifiers import Entropy
from gateway.errors import HostError


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Make the directory (0700) and hold it. Raises HostError when another gateway has it, or nobody may."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"SALLYPORT_STATE_DIR={state_dir} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise HostError(f"another `sallyport serve` is running with SALLYPORT_STATE_DIR={state_dir}") from None
    try:
        yield
    finally:
        os.close(lock)


def kept_key(file: Path, entropy: Entropy) -> bytes:
    """Give the 32 bytes of a key file (base64, as `wg genkey` writes), made with 0600 if it does not exist."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(b64encode(entropy(32)).decode() + "\n")
    if file.stat().st_mode & 0o077:
        raise HostError(f"{file} may be read by others; run chmod 600 {file}")
    try:
        key = b64decode(file.read_text("ascii").strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise HostError(f"{file} does not hold a key: 32 bytes in base64")
    return key


def clamped(key: bytes) -> bytes:
    """RFC 7748 section 5: the form in which WireGuard keeps a private key, so that it can be compared with ours."""
    return bytes([key[0] & 248, *key[1:31], (key[31] & 127) | 64])
