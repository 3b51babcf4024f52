"""The plan of back-channel logout, 8 modules: a logout token that holds ends the session at once, any other changes nothing."""

from __future__ import annotations

import pytest

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import FULL, World
from tests.sim.provider import CLIENT, ISSUER, Draft, Provider, hs256, jws

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def token(party: RelyingPartyUnderTest, provider: Provider) -> Draft:
    """The honest logout token of somebody who is logged in and connected."""
    party.log_in()
    party.device.connect()
    assert party.device.reach == FULL
    return provider.logout(sub="sub-alice", sid=provider.sids["alice"])


def send(world: World, token: str) -> tuple[int, str | None]:
    answer = world.browser.post("/backchannel-logout", data={"logout_token": token})
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["code"] if answer.content else None


def refused(party: RelyingPartyUnderTest, token: str, code: str) -> None:
    """Back-Channel Logout 2.8: 400, and the session goes on."""
    assert send(party.world, token) == (400, f"logout-token-{code}")
    assert party.device.reach == FULL
    assert party.device.report().status_code == 200


def test_oidcc_client_test_rp_backchannel_rpinitlogout(party: RelyingPartyUnderTest, token: Draft) -> None:
    assert send(party.world, token.sign()) == (200, None)
    assert party.device.reach is None
    party.is_logged_out()


def test_oidcc_client_test_rp_backchannel_rpinitlogout_alg_none(
    party: RelyingPartyUnderTest, provider: Provider, token: Draft
) -> None:
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "none"]
    refused(party, jws({**token.header, "alg": "none"}, token.claims, lambda _: b""), "algorithm")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_no_event(party: RelyingPartyUnderTest, token: Draft) -> None:
    refused(party, token.without("events"), "events")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_with_nonce(party: RelyingPartyUnderTest, token: Draft) -> None:
    refused(party, token.with_claims(nonce="of the login"), "nonce")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_alg(party: RelyingPartyUnderTest, token: Draft) -> None:
    """Signed with another algorithm than the one agreed on, here HS256 over what the client might know."""
    refused(party, jws({**token.header, "alg": "HS256"}, token.claims, hs256(CLIENT.encode())), "algorithm")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_aud(party: RelyingPartyUnderTest, token: Draft) -> None:
    refused(party, token.with_claims(aud="another client"), "audience")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_event(party: RelyingPartyUnderTest, token: Draft) -> None:
    refused(party, token.with_claims(events={f"{EVENT}-of-another-kind": {}}), "events")


def test_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_iss(party: RelyingPartyUnderTest, token: Draft) -> None:
    refused(party, token.with_claims(iss=f"{ISSUER}/other"), "issuer")
