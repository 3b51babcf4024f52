"""The plan of a login that somebody else begins, 1 module, and what nobody may make of it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import ORIGIN
from tests.sim.provider import ISSUER, Provider

INITIATE = "/login/initiate"


def test_oidcc_client_test_3rd_party_init_login(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """The portal sends the browser with the issuer and a hint; what follows is an ordinary login that holds."""
    browser = party.world.browser
    asked = {"iss": ISSUER, "login_hint": "carol@example", "target_link_uri": f"{ORIGIN}/v1/admin/me"}
    sent = browser.get(INITIATE, params=asked)
    assert sent.status_code == 303, sent.text
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    assert (query["login_hint"], query["code_challenge_method"]) == (["carol@example"], ["S256"])
    came_back = browser.get("/callback", params=provider.authorize(sent.headers["location"], "carol"))
    assert came_back.status_code == 303, came_back.text
    assert browser.get(came_back.headers["location"]).json()["user"] == "carol"


@pytest.mark.parametrize("issuer", [None, "", f"{ISSUER}/", "https://evil.example"])
def test_only_the_configured_provider_may_be_asked_for(party: RelyingPartyUnderTest, issuer: str | None) -> None:
    answer = party.world.browser.get(INITIATE, params={} if issuer is None else {"iss": issuer})
    assert (answer.status_code, answer.json()["code"]) == (400, "login-issuer")
    assert party.provider.asked == []


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", f"{ORIGIN}.evil.example/", f"{ORIGIN}@evil.example/", "//evil.example", "/me", ""],
)
def test_it_is_no_open_redirect(party: RelyingPartyUnderTest, target: str) -> None:
    answer = party.world.browser.get(INITIATE, params={"iss": ISSUER, "target_link_uri": target})
    assert (answer.status_code, answer.json()["code"]) == (400, "login-target")


@pytest.mark.parametrize("hint", ["", "a\nb", "h" * 256])
def test_a_hint_is_a_text_that_people_can_read(party: RelyingPartyUnderTest, hint: str) -> None:
    answer = party.world.browser.get(INITIATE, params={"iss": ISSUER, "login_hint": hint})
    assert (answer.status_code, answer.json()["code"]) == (400, "login-hint")
