"""The rows T-01 to T-44 on security event tokens, which the provider's rows are changed into: same lies, other kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.errors import Malformed, ProviderError, Unauthenticated
from gateway.identity.claim_rules import Expected
from gateway.identity.jwks import PublicKey, read_keys
from gateway.identity.kinds import SECURITY_EVENT
from gateway.identity.verify import Verified, verify
from tests.sim.provider import CLIENT, ISSUER, START, Draft
from tests.unit.identity.tampering import CASES, NOW, ONE, Case

EVENT = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": NOW,
    "jti": "event-one",
    "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "sub-alice"},
    "events": {EVENT: {}},
}
NOT_OF_AN_EVENT = {
    "T-22-nonce-of-an-earlier-login": "it has no nonce at all; the other forms of the row say so",
    "T-23": "it must have none",
    "T-25": "there is no access token beside it",
    "T-26": "likewise",
    "T-28-typ-security-event": "this is what it should say",
    "T-36": "it has sub_id in place of sub",
    "T-37": "likewise",
    "T-39": "it must have no exp",
    "T-41-auth-time": "it has none",
    "T-44-no-token": "a body has no absence but emptiness",
    "T-44-token-false": "likewise",
    "T-43-json-serialisation": "a body is bytes",
}
"""Rows, or forms of them, that are no lie in a security event."""


def find_key(case: Case) -> Callable[[str | None, str], PublicKey]:
    """The published keys, as the key set gives them."""
    try:
        keys = read_keys({"keys": [dict(jwk) for jwk in case.published]})
    except ProviderError:
        keys = ()

    def find(kid: str | None, algorithm: str) -> PublicKey:
        fitting = [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        if len(fitting) != 1:
            raise Unauthenticated("key", "names no key")
        return fitting[0].public_key

    return find


def judge(case: Case, token: object) -> Verified:
    lists: Mapping[str, Any] = case.metadata
    announced = frozenset(lists.get("id_token_signing_alg_values_supported", ["RS256"]))
    expected = Expected(ISSUER, CLIENT, announced)
    return verify(SECURITY_EVENT, token, expected, find_key(case), now=START)


def draft() -> Draft:
    return Draft({"alg": "RS256", "kid": "one", "typ": "secevent+jwt"}, dict(CLAIMS), ONE)


APPLY = [case for case in CASES if not case.name.startswith(tuple(NOT_OF_AN_EVENT))]
HONEST = Case("T-00-honest", "", Draft.sign)


@pytest.mark.parametrize("case", APPLY, ids=lambda case: case.name)
def test_a_tampered_security_event_is_refused(case: Case) -> None:
    assert judge(HONEST, draft().sign()).claims["jti"] == "event-one"
    made = draft()
    if case.name.startswith(("T-38", "T-40")):
        made.claims["exp"] = NOW + 300  # what the row changes; an event has none to begin with
    made.claims |= {"T-22": {"nonce": "n" * 43}, "T-34": {"sub": "sub-alice"}}.get(case.name[:4], {})
    with pytest.raises(Malformed) as refusal:
        judge(case, case.token(made))
    assert refusal.value.code.startswith("set-"), str(refusal.value)


OWN: Mapping[str, tuple[str, Callable[[Draft], str]]] = {
    "T-23-nonce-present": ("set-nonce", lambda d: d.with_claims(nonce="n")),
    "T-28-typ-absent": ("set-type", lambda d: Draft({"alg": "RS256", "kid": "one"}, d.claims, ONE).sign()),
    "T-28-typ-jwt": ("set-type", lambda d: d.with_header(typ="JWT")),
    "T-39-exp-present": ("set-time", lambda d: d.with_claims(exp=NOW + 300)),
    "T-42-iat-of-the-day-before-yesterday": ("set-time", lambda d: d.with_claims(iat=NOW - 2 * 86400)),
    "T-45-events-missing": ("set-events", lambda d: d.without("events")),
    "T-45-events-empty": ("set-events", lambda d: d.with_claims(events={})),
    "T-45-events-list": ("set-events", lambda d: d.with_claims(events=[EVENT])),
    "T-45-two-events": ("set-events", lambda d: d.with_claims(events={EVENT: {}, "urn:x": {}})),
    "T-45-event-text": ("set-events", lambda d: d.with_claims(events={EVENT: "x"})),
    "T-46-jti-missing": ("set-jti", lambda d: d.without("jti")),
    "T-46-jti-empty": ("set-jti", lambda d: d.with_claims(jti="")),
    "T-46-jti-number": ("set-jti", lambda d: d.with_claims(jti=7)),
    "T-44-empty": ("set-missing", lambda _: ""),
}


@pytest.mark.parametrize("name", OWN)
def test_what_only_a_security_event_must_be(name: str) -> None:
    code, change = OWN[name]
    with pytest.raises(Malformed) as refusal:
        judge(HONEST, change(draft()))
    assert refusal.value.code == code, str(refusal.value)


def test_the_table_has_every_row_that_can_be_a_lie_here() -> None:
    rows = {case.row for case in APPLY} | {int(name[2:4]) for name in OWN}
    apart = {int(name[2:4]) for name in NOT_OF_AN_EVENT}
    assert rows | apart | {24} >= set(range(1, 45))
