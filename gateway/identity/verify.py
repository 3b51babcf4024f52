"""The strict verifier of the provider's tokens (RFC 8725). Every ID token and every logout token passes here, and only here.

First what costs little: length, form, header. Then the signature, then the claims. What each kind of token must be stands
in a table; what is allowed is decided by the gateway, and the provider's metadata can only narrow it. Whether a login
belongs to this browser is not known here beyond the nonce, whether a logout token was used before not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from gateway.errors import Malformed, Refused, Unauthenticated
from gateway.identity import claim_rules as rules
from gateway.identity import compact
from gateway.identity.claim_rules import CLOCK_SKEW, LONGEST_TEXT, Broken, Expected, Signed
from gateway.identity.compact import CompactJws
from gateway.identity.jwks import ALLOWED, PublicKey

LARGEST_TOKEN = 64 * 1024
"""Bytes: room for a thousand groups."""

OLDEST = timedelta(minutes=10)
"""The code flow makes the ID token while we wait: an older one is somebody else's. A logout token may have been tried
again while we restarted."""

REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"})
"""Header parameters that bring their own key or change what the token means (RFC 8725 sections 3.1, 3.10)."""

FindKey = Callable[[str | None, str], PublicKey]
Rule = Callable[[Signed, Expected], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of token must be. `types` are the values of `typ` besides its absence; `code` begins each refusal's."""

    name: str
    code: str
    refusal: type[Refused]
    types: tuple[str, ...]
    endless: bool
    rules: tuple[Rule, ...]


ID_TOKEN = Kind(
    name="ID token",
    code="login-token",
    refusal=Unauthenticated,
    types=("JWT",),  # RFC 8725 3.11: logout+jwt and at+jwt are no ID tokens
    endless=False,
    rules=(rules.issuer, rules.audience, rules.nonce, rules.access_token_hash),
)
LOGOUT_TOKEN = Kind(
    name="logout token",
    code="logout-token",
    refusal=Malformed,  # Back-Channel Logout 2.8: 400
    types=("logout+jwt", "JWT"),  # 2.4 recommends the first; many providers say the second
    endless=True,
    rules=(rules.issuer, rules.audience, rules.no_nonce, rules.logout_event),
)


@dataclass(frozen=True, slots=True)
class VerifiedClaims:
    """The claims of an ID token that passed every check. Made only in this file."""

    issuer: str
    subject: str
    sid: str | None
    issued_at: datetime
    authenticated_at: datetime
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifiedLogout:
    """A logout token that passed every check; `subject`, `sid` or both are there. Made only in this file."""

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    issued_at: datetime


def verify_id_token(token: object, expected: Expected, find_key: FindKey, *, now: datetime) -> VerifiedClaims:
    """Verify an ID token. `find_key` gives the key for (kid, alg), or raises Unauthenticated.

    Raises Unauthenticated with a code `login-token-…` that names the check, or what else `find_key` raises.
    """
    try:
        claims, issued_at = _verify(ID_TOKEN, token, expected, find_key, now=now)
        authenticated_at = rules.instant(claims, "auth_time") if claims.get("auth_time") else issued_at
        if authenticated_at > now + CLOCK_SKEW:
            raise Broken("time", "auth_time lies in the future")
        subject, sid = rules.text(claims, "sub", "subject"), rules.optional_text(claims, "sid", "session")
    except Broken as broken:
        raise _refused(ID_TOKEN, broken) from None
    return VerifiedClaims(expected.issuer, subject, sid, issued_at, authenticated_at, claims)


def verify_logout_token(token: object, expected: Expected, find_key: FindKey, *, now: datetime) -> VerifiedLogout:
    """Verify a logout token. Raises Malformed with a code `logout-token-…`, or what else `find_key` raises."""
    try:
        claims, issued_at = _verify(LOGOUT_TOKEN, token, expected, find_key, now=now)
        subject, sid = rules.optional_text(claims, "sub", "subject"), rules.optional_text(claims, "sid", "session")
        if subject is None and sid is None:
            raise Broken("subject", "it must have sub or sid, or nobody is logged out")
        jti = rules.text(claims, "jti", "jti")
    except Broken as broken:
        raise _refused(LOGOUT_TOKEN, broken) from None
    return VerifiedLogout(expected.issuer, subject, sid, jti, issued_at)


def _verify(
    kind: Kind, token: object, expected: Expected, find_key: FindKey, *, now: datetime
) -> tuple[Mapping[str, Any], datetime]:
    jws = _parse(kind, token)
    algorithm = _check_header(kind, jws.header, expected)
    _check_signature(jws, algorithm, find_key)
    try:
        claims = jws.claims()
    except ValueError as error:
        raise Broken("malformed", str(error)) from None
    for rule in kind.rules:
        rule(Signed(claims, algorithm), expected)
    return claims, rules.check_times(claims, oldest=OLDEST, endless=kind.endless, now=now)


def _parse(kind: Kind, token: object) -> CompactJws:
    if not isinstance(token, str) or not token:
        raise Broken("missing", f"there is no {kind.name}")
    try:
        return compact.parse(token.encode("ascii"), largest=LARGEST_TOKEN)
    except UnicodeEncodeError:
        raise Broken("malformed", "it has characters beyond ASCII") from None
    except ValueError as error:
        raise Broken("malformed", str(error)) from None


def _check_header(kind: Kind, header: Mapping[str, Any], expected: Expected) -> str:
    foreign = sorted(REFUSED_PARAMETERS & set(header))
    if foreign:
        raise Broken("header", f"the header parameter {foreign[0]} is not allowed")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.lower() not in {allowed.lower() for allowed in kind.types}:
        raise Broken("type", f"typ must be {' or '.join(kind.types)}, or absent")
    algorithm = header.get("alg")
    allowed = ALLOWED & expected.algorithms
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise Broken("algorithm", f"allowed for this provider: {', '.join(sorted(allowed)) or 'none'}")
    return algorithm


def _check_signature(jws: CompactJws, algorithm: str, find_key: FindKey) -> None:
    kid = jws.header.get("kid")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_TEXT):
        raise Broken("key", f"kid must be a text of at most {LONGEST_TEXT} characters")
    try:
        key = find_key(kid, algorithm)
    except Unauthenticated as error:
        raise Broken("key", str(error)) from None
    if not jwt.get_algorithm_by_name(algorithm).verify(jws.signing_input, key, jws.signature):
        raise Broken("signature", "the signature does not hold")


def _refused(kind: Kind, broken: Broken) -> Refused:
    return kind.refusal(f"{kind.code}-{broken.check}", f"the provider's {kind.name} is refused: {broken}")
