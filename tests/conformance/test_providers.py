"""Providers as they are in the field: each differs from the others within the standard, and each works without a special case.

A variety is what such a provider says of itself, how it signs, what it puts into its tokens. Everyone of them must let
alice log in with her groups, and log her out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import FULL, World
from tests.sim.provider import CLIENT, ISSUER, USERINFO, Draft, Provider, Signer


def unchanged(draft: Draft) -> Draft:
    return draft


@dataclass(frozen=True)
class Variety:
    """One kind of provider. `id_token` and `logout_token` change what it signs; `client` is how the gateway is registered."""

    algorithm: str = "RS256"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    published: Callable[[Signer], list[dict[str, Any]]] = lambda signer: [signer.jwk]
    id_token: Callable[[Draft], Draft] = unchanged
    logout_token: Callable[[Draft], Draft] = unchanged
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    issuer: str = ISSUER


def saying(**members: Any) -> Callable[[Draft], Draft]:
    return lambda draft: replace(draft, claims={**draft.claims, **members})


def silent(*names: str) -> Callable[[Draft], Draft]:
    return lambda draft: replace(draft, claims={n: v for n, v in draft.claims.items() if n not in names})


def headed(**members: Any) -> Callable[[Draft], Draft]:
    """The header with these members; None leaves one out."""
    return lambda draft: replace(draft, header={n: v for n, v in {**draft.header, **members}.items() if v is not None})


def nested(draft: Draft) -> Draft:
    groups = draft.claims["groups"]
    return silent("groups")(saying(realm_access={"roles": groups})(draft))


def auth_time(draft: Draft) -> Draft:
    return saying(auth_time=draft.claims["auth_time"] + 0.25)(draft)


def without_kid(signer: Signer) -> list[dict[str, Any]]:
    return [{name: value for name, value in signer.jwk.items() if name != "kid"}]


def with_others(signer: Signer) -> list[dict[str, Any]]:
    encryption = {**Signer("for encryption").jwk, "use": "enc", "alg": "RSA-OAEP"}
    return [encryption, Signer("retired").jwk, signer.jwk, Signer("next", "ES256").jwk]


def bare(signer: Signer) -> list[dict[str, Any]]:
    """Neither `use` nor `alg`, as some providers publish their keys."""
    return [{name: value for name, value in signer.jwk.items() if name not in ("use", "alg")}]


SIGNED = {
    f"signs with {algorithm}": Variety(algorithm)
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
}
VARIETIES: Mapping[str, Variety] = {
    **SIGNED,
    "RS512 by default, and says none is possible": Variety(
        "RS512", {"id_token_signing_alg_values_supported": ["RS512", "HS256", "none"]}
    ),
    "auth_time is a float": Variety(id_token=auth_time),
    "auth_time is 0": Variety(id_token=saying(auth_time=0)),
    "auth_time is absent": Variety(id_token=silent("auth_time")),
    "logout tokens are plain JWT": Variety(logout_token=headed(typ="JWT")),
    "logout tokens have no typ": Variety(logout_token=headed(typ=None)),
    "logout tokens have no exp": Variety(logout_token=silent("exp")),
    "logout tokens name a list as audience": Variety(logout_token=saying(aud=[CLIENT])),
    "logout tokens name the session alone": Variety(logout_token=silent("sub")),
    "logout tokens name the user alone": Variety(logout_token=silent("sid")),
    "no typ in the ID token": Variety(id_token=headed(typ=None)),
    "groups are nested": Variety(id_token=nested, client={"groups_claim": "realm_access.roles"}),
    "groups stand at userinfo": Variety(
        metadata={"userinfo_endpoint": f"{ISSUER}{USERINFO}"},
        id_token=silent("groups"),
        userinfo={"groups": ["finance", "staff"]},
    ),
    "groups are a claim with an address as its name": Variety(
        id_token=lambda draft: silent("groups")(saying(**{"https://example/groups": draft.claims["groups"]})(draft)),
        client={"groups_claim": "https://example/groups"},
    ),
    "aud is a list": Variety(id_token=saying(aud=[CLIENT])),
    "azp beside aud": Variety(id_token=saying(azp=CLIENT)),
    "no at_hash": Variety(id_token=silent("at_hash")),
    "one key without kid": Variety(published=without_kid, id_token=headed(kid=None), logout_token=headed(kid=None)),
    "several keys, of other kinds too": Variety(published=with_others),
    "keys without use and alg": Variety(published=bare),
    "an issuer with a path": Variety(issuer="https://login.example/realms/staff"),
    "an issuer that ends with a slash": Variety(issuer="https://login.example/"),
    "no iss in the answer": Variety(metadata={"authorization_response_iss_parameter_supported": None}),
    "a confidential client by basic": Variety(client={"client_secret": "s3cret"}),
    "a confidential client by form": Variety(
        metadata={"token_endpoint_auth_methods_supported": ["client_secret_post"]}, client={"client_secret": "s3cret"}
    ),
    "says no scopes": Variety(metadata={"scopes_supported": None}),
    "no sid": Variety(id_token=silent("sid"), logout_token=silent("sid")),
    "claims that nobody knows": Variety(id_token=saying(tid="7f1c", ver="2.0", amr=["pwd", "mfa"], acr="1")),
}


@pytest.mark.parametrize("name", VARIETIES)
def test_a_provider_of_every_variety_logs_in_and_out(world: World, provider: Provider, name: str) -> None:
    variety = VARIETIES[name]
    provider.issuer = variety.issuer
    provider.signer = Signer("one", variety.algorithm)
    provider.published = variety.published(provider.signer)
    provider.metadata = {"id_token_signing_alg_values_supported": [variety.algorithm], **variety.metadata}
    provider.id_token = lambda draft: variety.id_token(draft).sign()
    provider.userinfo = dict(variety.userinfo)
    party = RelyingPartyUnderTest(world, provider, **variety.client)

    login = party.accepts()
    assert (login.issuer, login.subject) == (variety.issuer, "sub-alice")
    assert sorted(login.groups) == ["finance", "staff"]
    party.device.connect()
    assert party.device.reach == FULL

    token = variety.logout_token(provider.logout(sub="sub-alice", sid=provider.sids["alice"]))
    assert world.browser.post("/backchannel-logout", data={"logout_token": token.sign()}).status_code == 200
    assert party.device.reach is None
    party.is_logged_out()


def test_pairwise_subjects_are_different_users_at_different_providers(world: World, provider: Provider) -> None:
    """A `sub` means something at its issuer alone: the device of one is not the device of the other."""
    first = RelyingPartyUnderTest(world, provider)
    first.accepts()
    device = first.device
    elsewhere = Provider(issuer="https://other.example")
    second = RelyingPartyUnderTest(world, elsewhere)
    second.device = device
    answer = second.log_in()
    assert (answer.status_code, answer.json()["code"]) == (409, "device-of-another-user")
