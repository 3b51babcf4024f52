"""The strict verifier (RFC 8725). Every token from outside passes `verify`, and only there.

First what costs little: length, form, header. Then the signature, then the claims. What each kind of token must be stands
in the table of `kinds`; what is allowed is decided by the gateway, and a provider's metadata can only narrow it. Whether a
token was used before, or a login belongs to this browser beyond the nonce, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from gateway.errors import Malformed, Unauthenticated
from gateway.identity import claim_rules as rules
from gateway.identity import compact
from gateway.identity.claim_rules import CLOCK_SKEW, LONGEST_TEXT, Broken, Expected, Signed
from gateway.identity.compact import CompactJws
from gateway.identity.device_key import DeviceKey
from gateway.identity.jwks import PublicKey
from gateway.identity.kinds import ID_TOKEN, LOGOUT_TOKEN, OWN, RENEWED_ID_TOKEN, Expiry, Kind

REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"})
"""Header parameters that bring their own key or change what the token means (RFC 8725 sections 3.1, 3.10)."""

FindKey = Callable[[str | None, str], PublicKey]


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that is what its kind must be. `key` is the one in its own header, for kinds that bring it. Made only here."""

    kind: Kind
    claims: Mapping[str, Any]
    issued_at: datetime
    key: DeviceKey | None


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """The claims of an ID token that passed every check. Made only in this file."""

    issuer: str
    subject: str
    sid: str | None
    issued_at: datetime
    authenticated_at: datetime
    acr: str | None
    amr: tuple[str, ...]
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedLogout:
    """A logout token that passed every check; `subject`, `sid` or both are there. Made only in this file."""

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    issued_at: datetime


def verify(kind: Kind, token: object, expected: Expected, find_key: FindKey | None, *, now: datetime) -> Verified:
    """Verify a token of this kind. `find_key` gives the key for (kid, alg), or raises Unauthenticated; a kind that brings
    its own key needs none.

    Raises what the kind's row says, with a code that names the check, or what else `find_key` raises.
    """
    try:
        return _verify(kind, token, expected, find_key, now=now)
    except Broken as broken:
        raise kind.refused(broken) from None


def verify_id_token(token: object, expected: Expected, find_key: FindKey, *, now: datetime) -> VerifiedClaims:
    """Verify an ID token. Raises Unauthenticated `login-token-…`, or what else `find_key` raises."""
    return _login(verify(ID_TOKEN, token, expected, find_key, now=now), expected, now=now)


def _login(verified: Verified, expected: Expected, *, subject: str | None = None, now: datetime) -> VerifiedClaims:
    """Read who an ID token is about; `subject` is who it must be about, where that is known."""
    claims = verified.claims
    try:
        authenticated_at = rules.instant(claims, "auth_time") if claims.get("auth_time") else verified.issued_at
        if authenticated_at > now + CLOCK_SKEW:
            raise Broken("time", "auth_time lies in the future")
        found, sid = rules.text(claims, "sub", "subject"), rules.optional_text(claims, "sid", "session")
        if subject not in (None, found):
            raise Broken("subject", "it is about another user than the login")
    except Broken as broken:
        raise verified.kind.refused(broken) from None
    acr, amr = rules.named(claims.get("acr")), rules.names(claims.get("amr"))
    return VerifiedClaims(expected.issuer, found, sid, verified.issued_at, authenticated_at, acr, amr, claims)


def verify_renewed_id_token(
    token: object, expected: Expected, find_key: FindKey, *, subject: str, now: datetime
) -> VerifiedClaims:
    """Verify the ID token that a refresh brings (OIDC Core 12.2): the same rules but the nonce, and the same subject."""
    return _login(verify(RENEWED_ID_TOKEN, token, expected, find_key, now=now), expected, subject=subject, now=now)


def verify_logout_token(token: object, expected: Expected, find_key: FindKey, *, now: datetime) -> VerifiedLogout:
    """Verify a logout token. Raises Malformed `logout-token-…`, or what else `find_key` raises."""
    verified = verify(LOGOUT_TOKEN, token, expected, find_key, now=now)
    claims = verified.claims
    try:
        subject, sid = rules.optional_text(claims, "sub", "subject"), rules.optional_text(claims, "sid", "session")
        if subject is None and sid is None:
            raise Broken("subject", "it must have sub or sid, or nobody is logged out")
        jti = rules.text(claims, "jti", "jti")
    except Broken as broken:
        raise LOGOUT_TOKEN.refused(broken) from None
    return VerifiedLogout(expected.issuer, subject, sid, jti, verified.issued_at)


def _verify(kind: Kind, token: object, expected: Expected, find_key: FindKey | None, *, now: datetime) -> Verified:
    jws = _parse(kind, token)
    algorithm = _check_header(kind, jws.header, expected)
    key = _own_key(jws.header) if kind.header == OWN else None
    _check_signature(jws, algorithm, (lambda _kid, _alg: key.public_key) if key else find_key)
    try:
        claims = jws.claims()
    except ValueError as error:
        raise Broken("payload", str(error)) from None
    signed = Signed(claims, algorithm, key.thumbprint if key else None)
    issued_at = _check_times(kind, claims, now=now)
    for rule in kind.rules:
        rule(signed, expected)
    return Verified(kind, claims, issued_at, key)


def _parse(kind: Kind, token: object) -> CompactJws:
    if not isinstance(token, str | bytes) or (not token and isinstance(token, str)):
        raise Broken("missing", f"there is no {kind.name}")
    try:
        return compact.parse(token.encode("ascii") if isinstance(token, str) else token, largest=kind.largest)
    except UnicodeEncodeError:
        raise Broken("malformed", "it has characters beyond ASCII") from None
    except ValueError as error:
        raise Broken("malformed", f"it must be a compact JWS: {error}") from None


def _check_header(kind: Kind, header: Mapping[str, Any], expected: Expected) -> str:
    if kind.header is not None and set(header) != kind.header:
        raise Broken("header", f"the header must have {', '.join(sorted(kind.header))}, and nothing more")
    foreign = sorted(REFUSED_PARAMETERS & set(header) - (kind.header or frozenset()))
    if foreign:
        raise Broken("header", f"the header parameter {foreign[0]} is not allowed")
    _check_type(kind, header)
    algorithm = header.get("alg")
    allowed = kind.algorithms & expected.algorithms
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise Broken("algorithm", f"alg must be one of: {', '.join(sorted(allowed)) or 'none at all'}")
    return algorithm


def _check_type(kind: Kind, header: Mapping[str, Any]) -> None:
    typ = header.get("typ", kind.types[0] if kind.untyped else None)
    exact = kind.header is not None  # RFC 7515 4.1.9 lets others write it in any case
    allowed = kind.types if exact else tuple(name.lower() for name in kind.types)
    if not isinstance(typ, str) or (typ if exact else typ.lower()) not in allowed:
        absent = ", or absent" if kind.untyped else ""
        raise Broken("type", f"typ must be {' or '.join(kind.types)}{absent}")


def _own_key(header: Mapping[str, Any]) -> DeviceKey:
    jwk = header["jwk"]
    if not isinstance(jwk, dict):
        raise Broken("own-key", "jwk must be a JSON object")
    try:
        return DeviceKey.from_jwk(jwk)
    except Malformed as error:
        raise Broken("own-key", str(error)) from None


def _check_signature(jws: CompactJws, algorithm: str, find_key: FindKey | None) -> None:
    kid = jws.header.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_TEXT):
        raise Broken("key", f"kid must be a text of at most {LONGEST_TEXT} characters")
    if find_key is None:
        raise Broken("key", "there is no key for it")
    try:
        key = find_key(kid, algorithm)
    except Unauthenticated as error:
        raise Broken("key", str(error)) from None
    if not jwt.get_algorithm_by_name(algorithm).verify(jws.signing_input, key, jws.signature):
        raise Broken("signature", "the signature does not hold")


def _check_times(kind: Kind, claims: Mapping[str, Any], *, now: datetime) -> datetime:
    issued_at = rules.issued_at(claims, oldest=kind.oldest, ahead=kind.ahead, now=now)
    if kind.expiry is Expiry.NEEDED or (kind.expiry is Expiry.ALLOWED and "exp" in claims):
        rules.lifetime(claims, issued_at, longest=kind.longest, now=now)
    elif "exp" in claims:
        raise Broken("time", "it must not have exp")
    rules.begun(claims, now=now)
    return issued_at
