"""The public key of a device and its one name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers

from gateway.errors import Malformed
from gateway.identity.compact import base64url, base64url_decode

COORDINATE_SIZE = 32
MEMBERS = ("crv", "kty", "x", "y")


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The public key of a device. `thumbprint` (RFC 7638) is the device id: one key never has two names."""

    public_key: EllipticCurvePublicKey
    jwk: Mapping[str, str]
    thumbprint: str

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> DeviceKey:
        """Read exactly `{kty: EC, crv: P-256, x, y}`, a point on the curve. Raises Malformed."""
        if set(jwk) != set(MEMBERS) or jwk["kty"] != "EC" or jwk["crv"] != "P-256":
            raise Malformed("device-key", 'a device key is {"kty": "EC", "crv": "P-256", "x", "y"} and nothing more')
        try:
            x, y = _coordinate(jwk["x"]), _coordinate(jwk["y"])
            public_key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        except ValueError:
            raise Malformed("device-key", "x and y are not a point of P-256 in base64url") from None
        return cls(public_key, {name: jwk[name] for name in MEMBERS}, _thumbprint(jwk))

    @classmethod
    def from_public_key(cls, key: EllipticCurvePublicKey) -> DeviceKey:
        """Name a key that is held as such."""
        numbers = key.public_numbers()
        x, y = (base64url(number.to_bytes(COORDINATE_SIZE, "big")) for number in (numbers.x, numbers.y))
        return cls.from_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})


def is_thumbprint(text: str) -> bool:
    """Say whether `text` has the form of a device id; anything else is not even looked up."""
    return len(text) == 43 and text.replace("-", "a").replace("_", "a").isalnum() and text.isascii()


def _coordinate(text: object) -> int:
    data = base64url_decode(text) if isinstance(text, str) else b""
    if len(data) != COORDINATE_SIZE:  # RFC 7518 6.2.1.2: the full size of a coordinate, leading zeros kept
        raise ValueError
    return int.from_bytes(data, "big")


def _thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638 section 3: the required members, in order, without white space."""
    members = {name: jwk[name] for name in MEMBERS}
    return base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())
