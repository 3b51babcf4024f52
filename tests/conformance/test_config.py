"""The plan of a relying party that reads the provider's configuration, 6 modules; `idtoken-sig-none` is the basic plan's."""

from __future__ import annotations

from datetime import timedelta

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.provider import DISCOVERY, ISSUER, KEYS, Draft, Provider


def test_oidcc_client_test_discovery_openid_config(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """The endpoints are those that the document names, wherever they are."""
    provider.metadata["authorization_endpoint"] = f"{ISSUER}/somewhere/else"
    party.accepts()
    name = party.device.ask_enrolment().json()["enrolment"]
    assert party.world.browser.get(f"/login/{name}").headers["location"].startswith(f"{ISSUER}/somewhere/else?")
    assert len(party.asked(DISCOVERY)) == 1


def test_oidcc_client_test_discovery_jwks_uri_keys(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """The keys are read from the document's jwks_uri."""
    provider.metadata["jwks_uri"] = f"{ISSUER}/other/keys"
    provider.answers["/other/keys"] = provider.keys
    party.accepts()
    assert len(party.asked("/other/keys")) == 1
    assert party.asked(KEYS) == []


def test_oidcc_client_test_discovery_issuer_mismatch(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """Discovery 4.3: another issuer in the document than the one that was asked, and nobody is sent there."""
    provider.metadata["issuer"] = "https://evil.example"
    name = party.device.ask_enrolment().json()["enrolment"]
    answer = party.world.browser.get(f"/login/{name}")
    assert (answer.status_code, answer.json()["code"]) == (502, "provider-unavailable"), answer.text
    party.is_logged_out()


def test_oidcc_client_test_signing_key_rotation_just_before_signing(
    party: RelyingPartyUnderTest, provider: Provider
) -> None:
    """The key changes between discovery and the ID token: one refetch, and the login holds."""
    party.accepts()

    def rotated(draft: Draft) -> str:
        provider.rotate("just in time")
        return Draft({**draft.header, "kid": "just in time"}, draft.claims, provider.signer).sign()

    provider.id_token = rotated
    party.accepts()
    assert len(party.asked(KEYS)) == 2


def test_oidcc_client_test_signing_key_rotation(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """A login, a rotation, another login with the new key; the withdrawn key is refused after five minutes."""
    party.accepts()
    old = provider.signer
    provider.rotate("two")
    party.accepts()
    party.passes(timedelta(minutes=5))
    provider.signer = old
    answer = party.log_in()
    assert (answer.status_code, answer.json()["code"]) == (401, "login-token-key"), answer.text
