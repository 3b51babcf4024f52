"""The plan of a logout that begins at the relying party, 3 modules, and what it ends."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from agent import wire
from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import FULL, ORIGIN
from tests.sim.provider import CLIENT, ISSUER, Provider

END = f"{ISSUER}/session/end"


def admitted(party: RelyingPartyUnderTest) -> str:
    """Carol manages in this browser. Gives the token that her changes need."""
    browser = party.world.browser
    sent = browser.get("/login/admin")
    browser.get("/callback", params=party.provider.authorize(sent.headers["location"], "carol"))
    return str(browser.get("/v1/admin/me").json()["csrf"])


def leaves(party: RelyingPartyUnderTest) -> dict[str, str]:
    """Carol logs out. Gives what her browser takes to the provider."""
    csrf = admitted(party)
    answer = party.world.browser.post("/v1/admin/logout", headers={"x-sallyport-csrf": csrf})
    assert answer.status_code == 200, answer.text
    location = answer.json()["location"]
    assert location.startswith(f"{END}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def comes_back(party: RelyingPartyUnderTest, state: str | None) -> httpx2.Response:
    return party.world.browser.get("/logged-out", params={} if state is None else {"state": state})


@pytest.fixture(autouse=True)
def ends_sessions(provider: Provider) -> None:
    provider.metadata["end_session_endpoint"] = END


def test_oidcc_client_test_rp_init_logout(party: RelyingPartyUnderTest) -> None:
    asked = leaves(party)
    assert asked["client_id"] == CLIENT
    assert asked["post_logout_redirect_uri"] == f"{ORIGIN}/logged-out"
    assert len(asked["id_token_hint"].split(".")) == 3
    assert party.world.browser.get("/v1/admin/me").status_code == 401, "logged out before the provider is asked"
    page = comes_back(party, asked["state"])
    assert (page.status_code, "You are logged out" in page.text) == (200, True)


def test_oidcc_client_test_rp_init_logout_other_state(party: RelyingPartyUnderTest) -> None:
    asked = leaves(party)
    page = comes_back(party, asked["state"][:-2] + "AA")
    assert (page.status_code, page.json()["code"]) == (401, "logout-state")
    assert comes_back(party, "x" * 10_000).status_code == 401


def test_oidcc_client_test_rp_init_logout_no_state(party: RelyingPartyUnderTest) -> None:
    leaves(party)
    page = comes_back(party, None)
    assert (page.status_code, page.json()["code"]) == (401, "logout-state")


def test_an_old_answer_is_none(party: RelyingPartyUnderTest) -> None:
    asked = leaves(party)
    party.world.passes(601)
    assert comes_back(party, asked["state"]).json()["code"] == "logout-state"


def test_a_logout_on_the_device_ends_its_tunnel_and_its_login(party: RelyingPartyUnderTest) -> None:
    party.accepts()
    device = party.device.connect()
    assert device.reach == FULL
    answer = device.post("/v1/logout", device.sign(wire.TYP_LOGOUT, {}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["location"].startswith(f"{END}?")
    assert device.reach is None
    party.is_logged_out()
    assert device.post("/v1/logout", device.sign(wire.TYP_LOGOUT, {})).json()["code"] == "login-required"


def test_a_provider_without_a_logout_of_its_own_leads_to_our_last_page(
    party: RelyingPartyUnderTest, provider: Provider
) -> None:
    provider.metadata["end_session_endpoint"] = None
    csrf = admitted(party)
    answer = party.world.browser.post("/v1/admin/logout", headers={"x-sallyport-csrf": csrf})
    location = answer.json()["location"]
    assert location.startswith(f"{ORIGIN}/logged-out?state=")
    assert party.world.browser.get(location).status_code == 200


def test_a_logout_needs_the_page_that_began_it(party: RelyingPartyUnderTest) -> None:
    """Nobody is logged out by a link or a foreign form."""
    admitted(party)
    assert party.world.browser.post("/v1/admin/logout").status_code == 403
    assert party.world.browser.get("/v1/admin/me").status_code == 200
