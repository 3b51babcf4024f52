"""The device key: made once, kept in a file that only its owner reads, used to sign everything that the agent says.

P-256, because a TPM or a Secure Enclave can hold such a key too. What a signature is about is not known here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from agent import wire
from agent.errors import AgentError

COORDINATE = 32
"""Bytes of a coordinate of P-256 (RFC 7518 section 6.2.1.2)."""
LARGEST = 4096
"""Bytes of a key file; ours have 241."""


class DeviceKey:
    """A private key with its names: `jwk` is the public half, `id` its RFC 7638 thumbprint."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._private_key = private_key
        numbers = private_key.public_key().public_numbers()
        self.jwk = {"crv": "P-256", "kty": "EC", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        self.id = _base64url(hashlib.sha256(json.dumps(self.jwk, separators=(",", ":")).encode()).digest())

    @classmethod
    def load(cls, file: Path) -> DeviceKey:
        """Read the key. Raises AgentError when it is missing, damaged, or readable by others."""
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise AgentError("this machine is not enrolled: run sallyport-agent enrol URL") from None
        except OSError as error:
            raise AgentError(f"{file} cannot be read ({error.strerror})") from None
        try:
            _check_private(file, os.fstat(descriptor))
            return cls._read(file, os.read(descriptor, LARGEST))
        finally:
            os.close(descriptor)

    @classmethod
    def _read(cls, file: Path, pem: bytes) -> DeviceKey:
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise AgentError(f"{file} holds no P-256 key: remove it and run sallyport-agent enrol URL again")
        return cls(key)

    @classmethod
    def create(cls, file: Path) -> DeviceKey:
        """Make a key and keep it. Never replaces one: a second enrolment keeps the device's name."""
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
            opened.write(pem)
            opened.flush()
            os.fsync(opened.fileno())
        return cls(key)

    def sign(self, typ: str, claims: Mapping[str, Any], *, now: float) -> str:
        """Make a compact JWS of a `wire.TYP_*`. `now` is Unix time in seconds; it and a fresh `jti` are added."""
        named = {"jwk": self.jwk} if typ in wire.OWN_KEY else {"kid": self.id}
        said = {"iat": now, **claims}
        if typ != wire.TYP_REPORT:
            said["jti"] = _base64url(os.urandom(18))
        signed = f"{_part({'alg': 'ES256', 'typ': typ, **named})}.{_part(said)}"
        # RFC 7518 section 3.4: R and S, 32 bytes each
        r, s = decode_dss_signature(self._private_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(COORDINATE, 'big') + s.to_bytes(COORDINATE, 'big'))}"


def _check_private(file: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise AgentError(
            f"{file} must be a file of mode 0600 that belongs to the agent's user; "
            "somebody else may know the key: remove it and enrol again"
        )


def _part(members: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(members, separators=(",", ":")).encode())


def _coordinate(number: int) -> str:
    return _base64url(number.to_bytes(COORDINATE, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
