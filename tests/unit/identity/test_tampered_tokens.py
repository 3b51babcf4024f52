"""The table of tampered ID tokens: every row is refused by the check that it aims at, by a party that takes honest ones.

All of them go through a whole login, from the provider's metadata to the token endpoint.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest

from gateway.errors import GatewayError, ProviderError, Unauthenticated
from gateway.identity.login_state import LoginState
from tests.sim.provider import CLIENT, KEYS, Draft, LoginDesk, Provider, base64url, jws
from tests.unit.identity.tampering import CASES, NOW, SECRET, Case, lists


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tampered_id_token_is_refused_where_an_honest_one_is_taken(case: Case) -> None:
    provider = Provider(metadata=dict(case.metadata), published=[dict(jwk) for jwk in case.published])
    desk = LoginDesk(provider, client_secret=SECRET if "client-secret" in case.name else None)
    assert desk.log_in().subject == "sub-alice"

    provider.id_token, provider.token_answer = case.token, dict(case.answer)
    if case.name == "T-22-nonce-of-an-earlier-login":
        assert desk.log_in().subject == "sub-alice"  # the first time it is the nonce of this login
    with pytest.raises(GatewayError) as refusal:
        desk.log_in()
    assert isinstance(refusal.value, Unauthenticated)
    assert refusal.value.code == case.code, str(refusal.value)

    provider.id_token, provider.token_answer = Draft.sign, {}
    assert desk.log_in("bob").subject == "sub-bob"


@pytest.mark.parametrize("nonce", [None, ""], ids=["T-24-token-without-nonce", "T-24-token-with-empty-nonce"])
def test_a_login_that_expects_no_nonce_is_refused(nonce: str | None) -> None:
    provider = Provider()
    desk = LoginDesk(provider)
    begun = desk.begin()
    assert desk.finish(provider.authorize(begun.url), begun.state).subject == "sub-alice"

    begun = desk.begin()
    query = provider.authorize(begun.url)
    state = LoginState(begun.state.purpose, begun.state.state, "", begun.state.verifier, begun.state.begun_at)
    provider.id_token = lambda draft: draft.without("nonce") if nonce is None else draft.with_claims(nonce=nonce)
    with pytest.raises(Unauthenticated) as refusal:
        desk.finish(query, state)
    assert refusal.value.code == "login-token-nonce"


@pytest.mark.parametrize("size", [1 << 20, 4 << 20], ids=["T-44-token-of-1-MiB", "T-44-token-of-4-MiB"])
def test_a_token_that_bursts_the_answer_is_refused_before_it_is_read(size: int) -> None:
    provider = Provider()
    desk = LoginDesk(provider)
    assert desk.log_in().subject == "sub-alice"
    provider.id_token = lambda _: "t" * size
    with pytest.raises(ProviderError, match="more than"):
        desk.log_in()


def test_an_unknown_kid_costs_the_provider_at_most_two_requests_a_minute() -> None:
    """T-09: a token must not be a way to make us ask without end."""
    provider = Provider()
    desk = LoginDesk(provider)
    assert desk.log_in().subject == "sub-alice"
    kids = itertools.count()
    provider.id_token = lambda draft: draft.with_header(kid=f"unknown-{next(kids)}")
    for _ in range(50):
        with pytest.raises(Unauthenticated, match="names no key"):
            desk.log_in()
    assert desk.asked([KEYS]) == 2


def test_the_table_has_all_44_rows() -> None:
    assert {case.row for case in CASES} | {24} == set(range(1, 45))
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)
def test_every_allowed_algorithm_signs_a_login_with_its_own_hash(algorithm: str) -> None:
    provider = Provider(metadata=lists(algorithm))
    provider.rotate("key", algorithm)
    desk = LoginDesk(provider)
    assert desk.log_in().subject == "sub-alice"
    provider.id_token = lambda draft: draft.with_claims(at_hash=base64url(b"\0" * 32))
    with pytest.raises(Unauthenticated) as refusal:
        desk.log_in()
    assert refusal.value.code == "login-token-hash"


HONEST: Mapping[str, Callable[[Draft], str]] = {
    "an audience as a list": lambda draft: draft.with_claims(aud=[CLIENT]),
    "our client as azp": lambda draft: draft.with_claims(azp=CLIENT),
    "no typ": lambda draft: jws({"alg": "RS256", "kid": "one"}, draft.claims, draft.signer.sign),
    "typ in small letters": lambda draft: draft.with_header(typ="jwt"),
    "no kid and one key": lambda draft: jws({"alg": "RS256"}, draft.claims, draft.signer.sign),
    "a certificate thumbprint": lambda draft: draft.with_header(**{"x5t#S256": "A" * 43}),
    "no at_hash": lambda draft: draft.without("at_hash"),
    "times with fractions": lambda draft: draft.with_claims(iat=NOW - 0.25, exp=NOW + 300.5, auth_time=NOW - 1.5),
    "auth_time zero": lambda draft: draft.with_claims(auth_time=0),
    "no auth_time": lambda draft: draft.without("auth_time"),
    "a provider 29 s ahead": lambda draft: draft.with_claims(iat=NOW + 29, nbf=NOW + 29, exp=NOW + 300),
    "a subject of 255 characters": lambda draft: draft.with_claims(sub="s" * 255),
    "unknown claims": lambda draft: draft.with_claims(acr="urn:mfa", amr=["pwd"], deep={"er": [1, {"x": None}]}),
}


@pytest.mark.parametrize("form", HONEST)
def test_an_honest_token_may_have(form: str) -> None:
    provider = Provider(id_token=HONEST[form])
    assert LoginDesk(provider).log_in().user == "alice"


DAY = 86400


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        ({"iat": NOW + 30}, {"iat": NOW + 31}),
        ({"iat": NOW - 600}, {"iat": NOW - 601}),
        ({"iat": NOW - 60, "exp": NOW - 29}, {"iat": NOW - 60, "exp": NOW - 30}),
        ({"iat": NOW, "exp": NOW + 1}, {"iat": NOW, "exp": NOW}),
        ({"exp": NOW + 31 * DAY}, {"exp": NOW + 31 * DAY + 1}),
        ({"nbf": NOW + 30}, {"nbf": NOW + 31}),
        ({"auth_time": NOW + 30}, {"auth_time": NOW + 31}),
    ],
    ids=lambda members: ", ".join(f"{name} {value - NOW:+}" for name, value in members.items()),
)
def test_times_hold_up_to_their_bound_and_no_further(within: dict[str, int], beyond: dict[str, int]) -> None:
    provider = Provider(id_token=lambda draft: draft.with_claims(**within))
    desk = LoginDesk(provider)
    assert desk.log_in().subject == "sub-alice"
    provider.id_token = lambda draft: draft.with_claims(**beyond)
    with pytest.raises(Unauthenticated) as refusal:
        desk.log_in()
    assert refusal.value.code == "login-token-time"


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize("value", [True, "1", [1], {"s": 1}], ids=str)
def test_a_time_that_is_no_number_is_named(name: str, value: object) -> None:
    provider = Provider(id_token=lambda draft: draft.with_claims(**{name: value}))
    with pytest.raises(Unauthenticated, match=f"{name} must be a number of seconds"):
        LoginDesk(provider).log_in()


@pytest.mark.parametrize("kid", ["", "k" * 256, 7, True, ["one"], {"one": 1}], ids=lambda kid: str(kid)[:9])
def test_a_kid_that_is_no_bearable_text_is_refused_without_asking_for_keys(kid: object) -> None:
    provider = Provider(id_token=lambda draft: draft.with_header(kid=kid))
    desk = LoginDesk(provider)
    with pytest.raises(Unauthenticated, match="kid must be a text"):
        desk.log_in()
    assert desk.asked([KEYS]) == 0


@pytest.mark.parametrize("kid", ["k", "k" * 255])
def test_a_kid_may_be_short_or_long(kid: str) -> None:
    provider = Provider()
    provider.rotate(kid)
    assert LoginDesk(provider).log_in().subject == "sub-alice"
