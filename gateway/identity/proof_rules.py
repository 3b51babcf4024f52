"""What a proof of possession and the agent's own tokens must say (RFC 9449, RFC 9068), one rule each."""

from __future__ import annotations

import hashlib
import hmac

from gateway.identity.claim_rules import Broken, Expected, Signed, text
from gateway.identity.compact import base64url
from gateway.identity.device_key import is_thumbprint

SHORTEST_JTI, LONGEST_JTI = 22, 64
"""128 random bits in base64url; more is allowed."""


def jti(token: Signed, _expected: Expected) -> None:
    value = token.claims.get("jti")
    if not isinstance(value, str) or not SHORTEST_JTI <= len(value) <= LONGEST_JTI or not value.isascii():
        raise Broken("jti", f"jti must be a random text of {SHORTEST_JTI} to {LONGEST_JTI} characters (128 bits)")


def request(token: Signed, expected: Expected) -> None:
    """RFC 9449 4.3 steps 8 and 9. Ours are compared letter for letter: the agent knows our address."""
    if not expected.method or token.claims.get("htm") != expected.method:
        raise Broken("method", f"htm must be {expected.method}")
    if not expected.url or token.claims.get("htu") != expected.url:
        raise Broken("url", f"htu must be {expected.url}")


def token_hash(token: Signed, expected: Expected) -> None:
    """RFC 9449 4.2: `ath` beside an access token, and only there."""
    if expected.access_token is None:
        if "ath" in token.claims:
            raise Broken("hash", "ath is for requests with an access token")
    elif token.claims.get("ath") != ath(expected.access_token):
        raise Broken("hash", "ath must be the SHA-256 of the access token")


def ath(access_token: str) -> str:
    """Compute `ath` (RFC 9449 section 4.2)."""
    return base64url(hashlib.sha256(access_token.encode()).digest())


def holder(token: Signed, expected: Expected) -> None:
    """RFC 9449 4.3 step 11: the key of the proof is the one that the token is bound to."""
    if expected.holder is not None and token.holder != expected.holder:
        raise Broken("holder", "the proof is by another key than the token is bound to")


def server_nonce(token: Signed, expected: Expected) -> None:
    """RFC 9449 section 8: a proof cannot have been made in advance."""
    found = token.claims.get("nonce")
    known = isinstance(found, str) and any(hmac.compare_digest(found.encode(), n.encode()) for n in expected.nonces)
    if not known:
        raise Broken("nonce", "it needs the nonce of the header DPoP-Nonce")


def device(token: Signed, _expected: Expected) -> None:
    sub = token.claims.get("sub")
    if not isinstance(sub, str) or not is_thumbprint(sub):
        raise Broken("subject", "sub must be a device id")


def bound(token: Signed, _expected: Expected) -> None:
    """RFC 9449 6.1. A device id is the thumbprint of the device's key, so the two are one."""
    if token.claims.get("cnf") != {"jkt": token.claims["sub"]}:
        raise Broken("holder", "cnf must name the key of the device in sub")


def family(token: Signed, _expected: Expected) -> None:
    """Which family a refresh token is of, and the how-manieth of it."""
    generation = token.claims.get("generation")
    if isinstance(generation, bool) or not isinstance(generation, int) or generation < 1:
        raise Broken("family", "generation must be an integer from 1")
    text(token.claims, "family", "family")
