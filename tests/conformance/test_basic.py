"""The plan of a basic relying party (code flow), 16 modules."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.provider import CLIENT, ISSUER, USERINFO, Draft, Provider, Signer, jws


def use_userinfo(provider: Provider, **userinfo: object) -> None:
    """The ID token is silent about groups, so that userinfo is asked."""
    provider.metadata["userinfo_endpoint"] = f"{ISSUER}{USERINFO}"
    provider.id_token = lambda draft: draft.without("groups")
    provider.userinfo = dict(userinfo)


def without_kid(draft: Draft) -> str:
    return replace(draft, header={name: value for name, value in draft.header.items() if name != "kid"}).sign()


def test_oidcc_client_test(party: RelyingPartyUnderTest) -> None:
    login = party.accepts()
    assert (login.issuer, login.subject, login.user) == (ISSUER, "sub-alice", "alice")


def test_oidcc_client_test_invalid_iss(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.with_claims(iss=f"{ISSUER}/other")
    party.rejects("login-token-issuer")


def test_oidcc_client_test_missing_sub(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.without("sub")
    party.rejects("login-token-subject")


def test_oidcc_client_test_invalid_aud(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.with_claims(aud="another client")
    party.rejects("login-token-audience")


def test_oidcc_client_test_missing_iat(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.without("iat")
    party.rejects("login-token-time")


def test_oidcc_client_test_kid_absent_single_jwks(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.published = [{name: value for name, value in provider.signer.jwk.items() if name != "kid"}]
    provider.id_token = without_kid
    party.accepts()


def test_oidcc_client_test_kid_absent_multiple_jwks(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """Core 10.1: with several keys a `kid` must be there, so this token names none, whichever key would fit."""
    provider.published = [Signer("two").jwk, provider.signer.jwk]
    provider.id_token = without_kid
    party.rejects("login-token-key")


def test_oidcc_client_test_idtoken_sig_rs256(party: RelyingPartyUnderTest, provider: Provider) -> None:
    assert provider.signer.algorithm == "RS256"
    party.accepts()


def test_oidcc_client_test_idtoken_sig_none(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """The module lets a client that never asks for unsecured tokens refuse them, also when the provider offers them."""
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "none"]
    provider.id_token = lambda draft: jws({"alg": "none"}, draft.claims, lambda _: b"")
    party.rejects("login-token-algorithm")


def test_oidcc_client_test_invalid_sig_rs256(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: jws(draft.header, draft.claims, Signer("another key").sign)
    party.rejects("login-token-signature")


def test_oidcc_client_test_userinfo_bearer_header(party: RelyingPartyUnderTest, provider: Provider) -> None:
    use_userinfo(provider, groups=["finance"])
    assert party.accepts().groups == ["finance"]
    request = party.userinfo_request
    assert request.method == "GET"
    assert request.headers["authorization"].startswith("Bearer access-")
    assert not request.url.query


def test_oidcc_client_test_userinfo_invalid_sub(party: RelyingPartyUnderTest, provider: Provider) -> None:
    use_userinfo(provider, groups=["finance"], sub="sub-bob")
    party.rejects("login-userinfo")


def test_oidcc_client_test_nonce_invalid(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.with_claims(nonce="of another login")
    party.rejects("login-token-nonce")


def test_oidcc_client_test_scope_userinfo_claims(party: RelyingPartyUnderTest, provider: Provider) -> None:
    """The scopes are asked for, and what they bring is read where it stands."""
    provider.metadata["scopes_supported"] = ["openid", "profile", "email", "address", "phone", "groups"]
    use_userinfo(provider, groups=["staff", "finance"])
    assert set(party.authorization_request["scope"].split()) == {"openid", "profile", "email", "groups"}
    assert sorted(party.accepts().groups) == ["finance", "staff"]


def test_oidcc_client_test_client_secret_basic(party: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]
    party.register(client_secret="s3cret")
    party.accepts()
    basic = b64encode(f"{CLIENT}:s3cret".encode()).decode()
    assert party.token_request.headers["authorization"] == f"Basic {basic}"
    assert b"client_secret" not in party.token_request.content
