"""Signatures in OpenSSH's format (PROTOCOL.sshsig), so that the key and the list that sign commits can sign policies.

`ssh-keygen -Y sign -n sallyport-policy` makes them and `ssh-keygen -Y verify` reads them. Ed25519 only. A file of allowed
signers has OpenSSH's form: `name ssh-ed25519 AAAA… comment`, one on a line; keys with options are refused, because what
an option demands would not be looked at.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAGIC = b"SSHSIG"
KIND = b"ssh-ed25519"
HASH = b"sha512"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose key it is, and its fingerprint as `ssh-keygen -l` shows it."""

    name: str
    fingerprint: str
    key: Ed25519PublicKey


Signers = Mapping[bytes, Signer]
"""The allowed signers by their raw public key."""


def signers(text: str) -> Signers:
    """Read a file of allowed signers. Raises ValueError that names the line and what is allowed."""
    found: dict[bytes, Signer] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 3 or words[1] != KIND.decode():
            raise ValueError(f"line {number} is no signer; allowed is: name ssh-ed25519 AAAA…")
        try:
            raw = _public(b64decode(words[2], validate=True))
            found[raw] = Signer(words[0], fingerprint(raw), Ed25519PublicKey.from_public_bytes(raw))
        except ValueError:
            raise ValueError(f"line {number} holds no Ed25519 key") from None
    return found


def sign(message: bytes, key: Ed25519PrivateKey, namespace: str) -> str:
    """Sign the message."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    made = key.sign(_signed(message, namespace))
    blob = MAGIC + struct.pack(">I", 1) + _string(_string(KIND) + _string(raw))
    blob += _string(namespace.encode()) + _string(b"") + _string(HASH) + _string(_string(KIND) + _string(made))
    return "\n".join([BEGIN, *wrap(b64encode(blob).decode(), 70), END]) + "\n"


def verify(message: bytes, signature: str, allowed: Signers, namespace: str) -> Signer:
    """Give who signed exactly this message for this purpose. Raises ValueError for everything else."""
    raw, said, made = _parse(signature)
    signer = allowed.get(raw)
    if signer is None:
        raise ValueError(f"the key {fingerprint(raw)} is none of the allowed signers")
    if said != namespace.encode():
        raise ValueError(f"the signature is for another purpose; allowed is the namespace {namespace}")
    try:
        signer.key.verify(made, _signed(message, namespace))
    except InvalidSignature:
        raise ValueError(f"the signature of {signer.name} is of something else") from None
    return signer


def fingerprint(raw: bytes) -> str:
    """Name a key as OpenSSH does."""
    hashed = hashlib.sha256(_string(KIND) + _string(raw)).digest()
    return f"SHA256:{b64encode(hashed).decode().rstrip('=')}"


def _parse(signature: str) -> tuple[bytes, bytes, bytes]:
    lines = signature.strip().splitlines()
    try:
        if len(signature) > LARGEST or (lines[0], lines[-1]) != (BEGIN, END):
            raise ValueError
        blob = b64decode("".join(lines[1:-1]), validate=True)
        if blob[:10] != MAGIC + struct.pack(">I", 1):
            raise ValueError
        public, namespace, reserved, algorithm, made = _strings(blob[10:], 5)
        kind, signed = _strings(made, 2)
        if (reserved, algorithm, kind, len(signed)) != (b"", HASH, KIND, 64):
            raise ValueError
        return _public(public), namespace, signed
    except (ValueError, IndexError):
        raise ValueError("there is no signature by an Ed25519 key with SHA-512 in OpenSSH's format") from None


def _public(blob: bytes) -> bytes:
    kind, raw = _strings(blob, 2)
    if kind != KIND or len(raw) != 32:
        raise ValueError
    return raw


def _signed(message: bytes, namespace: str) -> bytes:
    digest = hashlib.sha512(message).digest()
    return MAGIC + _string(namespace.encode()) + _string(b"") + _string(HASH) + _string(digest)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _strings(blob: bytes, count: int) -> list[bytes]:
    """Read so many strings, and nothing after them."""
    found = []
    for _ in range(count):
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if blob:
        raise ValueError
    return found
