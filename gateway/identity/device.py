"""Proof by device key: what an agent signed, and which key that was.

Every body of an agent is a compact JWS by its P-256 key (`agent/wire.py`). One strict reader for all of them; whether a
device is enrolled, a `jti` was seen before or a report comes in turn is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers

from agent import wire
from gateway.errors import Malformed, Unauthenticated
from gateway.identity import compact
from gateway.identity.compact import CompactJws, base64url, base64url_decode

LARGEST_BODY = 256 * 1024
"""Bytes. A report with 200 facts has about 40 KiB."""

CLOCK_SKEW = timedelta(seconds=60)
"""`iat` may be this far from our clock, either way; a `jti` must be remembered for twice as long."""

MOST_FACTS = 256
COORDINATE_SIZE = 32
SIGNATURE_SIZE = 64
LATEST_INSTANT = 253_402_300_799
"""The last second of the year 9999: what a datetime can hold."""

ES256 = jwt.get_algorithm_by_name("ES256")


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The public key of a device. `thumbprint` (RFC 7638) is the device id: one key never has two names."""

    public_key: EllipticCurvePublicKey
    jwk: Mapping[str, str]
    thumbprint: str

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> DeviceKey:
        """Read exactly `{kty: EC, crv: P-256, x, y}`, a point on the curve. Raises Malformed."""
        if set(jwk) != {"kty", "crv", "x", "y"} or jwk["kty"] != "EC" or jwk["crv"] != "P-256":
            raise Malformed("device-key", 'a device key is {"kty": "EC", "crv": "P-256", "x", "y"} and nothing more')
        try:
            x, y = _coordinate(jwk["x"]), _coordinate(jwk["y"])
            public_key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        except ValueError:
            raise Malformed("device-key", "x and y are not a point of P-256 in base64url") from None
        return cls(public_key, {name: jwk[name] for name in ("crv", "kty", "x", "y")}, _thumbprint(jwk))


@dataclass(frozen=True, slots=True)
class VerifiedDeviceClaims:
    """What a device said, proved to come from `key`. Made only in this file."""

    device: str
    key: DeviceKey
    claims: Mapping[str, Any]
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class VerifiedReport:
    """A posture report, proved to come from `device`. Made only in this file; sequence and nonce are not checked."""

    device: str
    report: wire.PostureReport
    issued_at: datetime


def device_id_of(body: bytes) -> str:
    """Read the device id that a body claims, unverified, only to look up the key. Raises Malformed."""
    kid = _parse(body).header.get("kid")
    if not isinstance(kid, str) or not _is_thumbprint(kid):
        raise Malformed("signature-header", "kid must be the device id, the base64url SHA-256 thumbprint of the key")
    return kid


def verify_enrolment(body: bytes, *, now: datetime) -> VerifiedDeviceClaims:
    """Verify a body that carries its own key: the proof that the sender has the private half."""
    jws = _parse(body)
    _check_header(jws, wire.TYP_ENROLMENT, "jwk")
    jwk = jws.header["jwk"]
    if not isinstance(jwk, dict):
        raise Malformed("device-key", "jwk must be a JSON object")
    verified = _verify(jws, DeviceKey.from_jwk(jwk), now=now)
    _check_jti(verified.claims)
    return verified


def verify_device(body: bytes, key: DeviceKey, *, typ: str, now: datetime) -> VerifiedDeviceClaims:
    """Verify a body of the given `typ` (agent/wire.py) by an enrolled key. A `jti` is present; its reuse is not known here.

    Raises Malformed for what no agent sends and Unauthenticated for a proof that does not hold.
    """
    jws = _parse(body)
    _check_header(jws, typ, "kid")
    if jws.header["kid"] != key.thumbprint:
        raise Unauthenticated("device-unknown", "kid is not the device whose key this is")
    verified = _verify(jws, key, now=now)
    if typ != wire.TYP_REPORT:
        _check_jti(verified.claims)
    return verified


def verify_report(body: bytes, key: DeviceKey, *, now: datetime) -> VerifiedReport:
    """Verify a posture report and read it. Raises Malformed that names the member, or Unauthenticated."""
    verified = verify_device(body, key, typ=wire.TYP_REPORT, now=now)
    return VerifiedReport(verified.device, _report(verified.claims), verified.issued_at)


def _parse(body: bytes) -> CompactJws:
    try:
        return compact.parse(body, largest=LARGEST_BODY)
    except ValueError as error:
        raise Malformed("signature-form", f"the body must be a compact JWS: {error}") from None


def _check_header(jws: CompactJws, typ: str, names_key: str) -> None:
    """Our own protocol: the header is exactly what agent/wire.py says, so no parameter can mean anything else."""
    if set(jws.header) != {"alg", "typ", names_key}:
        raise Malformed("signature-header", f"the header must have alg, typ and {names_key}, and nothing more")
    if jws.header["alg"] != "ES256":
        raise Malformed("signature-header", "alg must be ES256")
    if jws.header["typ"] != typ:
        raise Malformed("signature-header", f"typ must be {typ} here")


def _verify(jws: CompactJws, key: DeviceKey, *, now: datetime) -> VerifiedDeviceClaims:
    # RFC 7518 3.4: R and S, 32 bytes each
    if len(jws.signature) != SIGNATURE_SIZE or not ES256.verify(jws.signing_input, key.public_key, jws.signature):
        raise Unauthenticated("signature", "the signature is not by this device's key")
    try:
        claims = jws.claims()
    except ValueError as error:
        raise Malformed("claims", str(error)) from None
    return VerifiedDeviceClaims(key.thumbprint, key, claims, _issued_at(claims, now=now))


def _issued_at(claims: Mapping[str, Any], *, now: datetime) -> datetime:
    issued_at = datetime.fromtimestamp(_instant(claims.get("iat"), "iat"), UTC)
    if abs(issued_at - now) > CLOCK_SKEW:
        raise Unauthenticated(
            "clock",
            f"iat is {abs(issued_at - now).total_seconds():.0f} s from the gateway's clock, allowed are 60 s; "
            "set the device's clock",
        )
    return issued_at


def _check_jti(claims: Mapping[str, Any]) -> None:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 22 <= len(jti) <= 64 or not jti.isascii():
        _malformed("jti", "a random text of 22 to 64 characters (128 bits)")


def _report(claims: Mapping[str, Any]) -> wire.PostureReport:
    if claims.get("v") != wire.VERSION or isinstance(claims["v"], bool):
        _malformed("v", f"{wire.VERSION}; this gateway reads no other version of the report")
    sequence = claims.get("seq")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < 1:
        _malformed("seq", "an integer from 1")
    return wire.PostureReport(
        session=_short_text(claims.get("session"), "session"),
        sequence=sequence,
        nonce=_short_text(claims.get("nonce"), "nonce"),
        issued_at=_instant(claims.get("iat"), "iat"),
        facts=_facts(claims.get("facts")),
    )


def _facts(members: object) -> dict[str, wire.Fact]:
    if not isinstance(members, dict) or len(members) > MOST_FACTS:
        _malformed("facts", f"an object of at most {MOST_FACTS} facts")
    return {name: _fact(name, fact) for name, fact in members.items()}


def _fact(name: str, members: object) -> wire.Fact:
    _short_text(name, "a fact's name")
    if not isinstance(members, dict):
        _malformed(f"facts.{name}", "an object")
    try:
        fact = wire.Fact.from_json(members)
    except ValueError as error:
        raise Malformed("report", f"facts.{name}: {error}") from None
    _instant(fact.observed_at, f"facts.{name}.observed_at")
    return fact


def _instant(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_INSTANT:
        _malformed(name, "Unix time in seconds")
    return float(value)


def _short_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        _malformed(name, "a text of 1 to 128 characters")
    return value


def _malformed(name: str, allowed: str) -> NoReturn:
    raise Malformed("report" if name.startswith("facts") else "claims", f"{name} must be {allowed}")


def _coordinate(text: object) -> int:
    data = base64url_decode(text) if isinstance(text, str) else b""
    if len(data) != COORDINATE_SIZE:  # RFC 7518 6.2.1.2: the full size of a coordinate, leading zeros kept
        raise ValueError
    return int.from_bytes(data, "big")


def _thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638 section 3: the required members, in order, without white space."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def _is_thumbprint(text: str) -> bool:
    return len(text) == 43 and text.replace("-", "a").replace("_", "a").isalnum() and text.isascii()
