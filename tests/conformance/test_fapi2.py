"""The plan of a client of the FAPI 2.0 Security Profile (private_key_jwt, DPoP), 23 modules.

The gateway is one when `SALLYPORT_OIDC_PROFILE=fapi2` is set; what it pushes, signs and proves is checked by the provider.
"""

from __future__ import annotations

import random
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest

from gateway.identity.client_key import ClientKey
from gateway.identity.possession import Prover
from gateway.web import login_checks
from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.conformance.test_refresh import CHECKED
from tests.sim.fapi import PAR, FapiProvider
from tests.sim.gateway import FULL, World
from tests.sim.provider import CLIENT, DISCOVERY, ISSUER, TOKEN, USERINFO, Draft, Signer, jws

NONCE_WANTED = {f"{path}: use_dpop_nonce: the nonce is wanted" for path in (PAR, TOKEN, USERINFO)}


@pytest.fixture
def provider() -> FapiProvider:
    provider = FapiProvider()
    provider.metadata["userinfo_endpoint"] = f"{ISSUER}{USERINFO}"
    provider.id_token = lambda draft: draft.without("groups")
    provider.userinfo = {"groups": ["finance"]}
    return provider


@pytest.fixture
def party(world: World, provider: FapiProvider) -> RelyingPartyUnderTest:
    """The gateway with a key of its own, registered by the document that it publishes."""
    prover = Prover(ClientKey(bytes(range(32))), random.Random(2).randbytes)
    party = RelyingPartyUnderTest(world, provider, prover=prover)
    published = world.browser.get("/jwks.json").json()["keys"]
    assert [set(key) for key in published] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}]
    provider.client_jwk = published[0]
    return party


def forged(party: RelyingPartyUnderTest, provider: FapiProvider, code: str, **claims: object) -> None:
    provider.id_token = lambda draft: draft.with_claims(**claims)
    party.rejects(f"login-token-{code}")


def rejects_answer(party: RelyingPartyUnderTest, provider: FapiProvider, code: str, **changes: str | None) -> None:
    """The browser comes back with these parameters changed, or left out: no token is asked for."""
    name = party.device.ask_enrolment().json()["enrolment"]
    query: dict[str, str | None] = {**party.device.leave_for(provider, name), **changes}
    answer = party.device.come_back({name: value for name, value in query.items() if value is not None})
    assert (answer.status_code, answer.json()["code"]) == (401, code), answer.text
    assert party.asked(TOKEN) == []
    party.is_logged_out()


def test_fapi2_security_profile_final_client_test_happy_path(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    login = party.accepts()
    assert (login.subject, login.groups) == ("sub-alice", ["finance"])
    assert set(provider.objections) <= NONCE_WANTED
    pushed = dict(parse_qsl(party.asked(PAR)[-1].content.decode()))
    assert (pushed["response_type"], pushed["code_challenge_method"]) == ("code", "S256")
    assert pushed["client_id"] == CLIENT


def test_fapi2_security_profile_final_client_test_happy_path_no_dpop_nonce(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    """A provider that never asks for a nonce is asked once at each endpoint."""
    provider.nonce = None
    party.accepts()
    assert provider.objections == []
    assert [len(party.asked(path)) for path in (PAR, TOKEN, USERINFO)] == [1, 1, 1]


def test_fapi2_security_profile_final_client_test_discovery_issuer_mismatch(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.metadata["issuer"] = "https://evil.example"
    name = party.device.ask_enrolment().json()["enrolment"]
    assert party.world.browser.get(f"/login/{name}").json()["code"] == "provider-unavailable"
    assert set(provider.asked) == {DISCOVERY}


def test_fapi2_security_profile_final_client_test_invalid_iss(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    forged(party, provider, "issuer", iss=f"{ISSUER}/")


def test_fapi2_security_profile_final_client_test_invalid_aud(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    forged(party, provider, "audience", aud="another client")


def test_fapi2_security_profile_final_client_test_invalid_secondary_aud(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    forged(party, provider, "audience", aud=[CLIENT, "an audience that nobody trusts"])


def test_fapi2_security_profile_final_client_test_invalid_null_alg(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.metadata["id_token_signing_alg_values_supported"] = ["PS256", "none"]
    provider.id_token = lambda draft: jws({**draft.header, "alg": "none"}, draft.claims, lambda _: b"")
    party.rejects("login-token-algorithm")


def test_fapi2_security_profile_final_client_test_invalid_alternate_alg(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    """RS256 is for other profiles, also when the provider announces it and the key could."""
    provider.metadata["id_token_signing_alg_values_supported"] = ["PS256", "RS256"]
    other = Signer("fapi", "RS256")
    provider.published.append(other.jwk)
    provider.id_token = lambda draft: jws({**draft.header, "alg": "RS256"}, draft.claims, other.sign)
    party.rejects("login-token-algorithm")


def test_fapi2_security_profile_final_client_test_invalid_expired_exp(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    at = int(provider.now.timestamp())
    forged(party, provider, "time", iat=at - 400, exp=at - 100)


def test_fapi2_security_profile_final_client_test_invalid_missing_exp(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.id_token = lambda draft: draft.without("exp")
    party.rejects("login-token-time")


def test_fapi2_security_profile_final_client_test_invalid_missing_aud(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.id_token = lambda draft: draft.without("aud")
    party.rejects("login-token-audience")


def test_fapi2_security_profile_final_client_test_invalid_missing_iss(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.id_token = lambda draft: draft.without("iss")
    party.rejects("login-token-issuer")


def test_fapi2_security_profile_final_client_test_valid_aud_as_array(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.id_token = lambda draft: draft.with_claims(aud=[CLIENT])
    party.accepts()


def test_fapi2_security_profile_final_client_test_invalid_nonce(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    forged(party, provider, "nonce", nonce="of another login")


def test_fapi2_security_profile_final_client_test_invalid_missing_nonce(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.id_token = lambda draft: draft.without("nonce")
    party.rejects("login-token-nonce")


def test_fapi2_security_profile_final_client_test_invalid_authorization_response_iss(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    rejects_answer(party, provider, "login-issuer", iss="https://evil.example")


def test_fapi2_security_profile_final_client_test_remove_authorization_response_iss(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    """It must be there, also when the provider does not announce it."""
    provider.metadata["authorization_response_iss_parameter_supported"] = None
    rejects_answer(party, provider, "login-issuer", iss=None)


def test_fapi2_security_profile_final_client_test_ensure_authorization_response_with_invalid_state_fails(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    rejects_answer(party, provider, "login-state", state="of another login")


def test_fapi2_security_profile_final_client_test_ensure_authorization_response_with_invalid_missing_state_fails(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    rejects_answer(party, provider, "login-state", state=None)


def test_fapi2_security_profile_final_client_test_token_endpoint_response_without_expires_in(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.token_answer = {"expires_in": None}
    party.accepts()


def test_fapi2_security_profile_final_client_test_token_type_case_insensitivity(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    provider.token_type = "dPoP"
    assert party.accepts().groups == ["finance"]


def test_fapi2_security_profile_final_client_test_rs_dpop_auth_scheme_case_insensitivity(
    party: RelyingPartyUnderTest, provider: FapiProvider
) -> None:
    """The resource spells its challenge in another case; its nonce is taken, and the second try is let in."""
    provider.scheme = "dpop"

    def fresh_nonce(draft: Draft) -> str:
        provider.nonce = "provider-nonce-2"
        return draft.without("groups")

    provider.id_token = fresh_nonce
    assert party.accepts().groups == ["finance"]
    assert len(party.asked(USERINFO)) == 2


def test_fapi2_security_profile_final_client_test_refresh_token_test(
    tmp_path_factory: pytest.TempPathFactory, provider: FapiProvider
) -> None:
    """The refresh is signed and proven like the first request, its proofs by the same key, and the session goes on."""
    provider.metadata["scopes_supported"] = ["openid", "groups", "offline_access"]
    world = World(tmp_path_factory.mktemp("refresh"), policy=CHECKED)
    world.tick()
    prover = Prover(ClientKey(bytes(range(32))), random.Random(2).randbytes)
    party = RelyingPartyUnderTest(world, provider, prover=prover)
    provider.client_jwk = world.browser.get("/jwks.json").json()["keys"][0]
    party.accepts()
    party.device.connect()
    provider.objections.clear()
    for _ in range(10):
        party.passes(timedelta(seconds=30))
        assert party.device.report().status_code == 200
    assert login_checks.step(world.deployment, now=world.clock.time) == 1
    assert party.device.reach == FULL
    assert set(provider.objections) <= NONCE_WANTED
    form = dict(parse_qsl(party.token_request.content.decode()))
    assert (form["grant_type"], "client_assertion" in form) == ("refresh_token", True)
    assert "dpop" in party.token_request.headers
    world.close()
