"""Groups from the userinfo endpoint, from a provider that lies there in every way."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest

from gateway.errors import GatewayError, ProviderError, Unauthenticated
from gateway.identity.http import LARGEST_ANSWER, Egress
from gateway.identity.oidc import RelyingParty
from tests.sim.provider import (
    ADDRESS,
    CALLBACK,
    CLIENT,
    ISSUER,
    USERINFO,
    Draft,
    LoginDesk,
    Provider,
    Signer,
    jws,
)


def silent(draft: Draft) -> str:
    """An ID token that says nothing of groups."""
    return draft.without("groups")


@pytest.fixture
def provider() -> Provider:
    """A provider that keeps groups out of its ID tokens."""
    return Provider(
        metadata={"userinfo_endpoint": f"{ISSUER}{USERINFO}"},
        id_token=silent,
        userinfo={"groups": ["staff", "finance"]},
    )


def refused(desk: LoginDesk, error: type[GatewayError], reason: str) -> str:
    with pytest.raises(error, match=reason) as refusal:
        desk.log_in()
    assert "access-" not in str(refusal.value), "the token is nobody's to read"
    return getattr(refusal.value, "code", "")


# who is asked, and when


def test_groups_that_the_id_token_leaves_out_are_asked_for_with_the_access_token(desk: LoginDesk) -> None:
    """userinfo-bearer-header, scope-userinfo-claims"""
    assert desk.log_in().groups == ("finance", "staff")
    request = desk.provider.requests[-1]
    assert (request.method, request.url.path) == ("GET", USERINFO)
    assert request.headers["authorization"].startswith("Bearer access-")
    assert "access" not in str(request.url)


def test_groups_of_the_id_token_are_taken_and_nobody_is_asked(provider: Provider, desk: LoginDesk) -> None:
    provider.id_token = Draft.sign
    provider.userinfo["groups"] = ["sallyport-admins"]
    assert desk.log_in().groups == ("finance", "staff")
    assert desk.asked([USERINFO]) == 0


def test_an_empty_list_in_the_id_token_is_an_answer(provider: Provider, desk: LoginDesk) -> None:
    provider.id_token = lambda draft: draft.with_claims(groups=[])
    assert desk.log_in().groups == ()
    assert desk.asked([USERINFO]) == 0


def test_null_in_the_id_token_is_none(provider: Provider, desk: LoginDesk) -> None:
    provider.id_token = lambda draft: draft.with_claims(groups=None)
    assert desk.log_in().groups == ("finance", "staff")


def test_a_provider_without_the_endpoint_is_not_asked_and_gives_no_groups(provider: Provider, desk: LoginDesk) -> None:
    del provider.metadata["userinfo_endpoint"]
    assert desk.log_in().groups == ()
    assert desk.asked([USERINFO]) == 0


def test_a_nested_path_is_read_in_userinfo_too(provider: Provider) -> None:
    provider.userinfo = {"realm_access": {"roles": ["vpn"]}}
    provider.id_token = lambda draft: draft.with_claims(realm_access={"other": 1})
    assert LoginDesk(provider, groups_claim="realm_access.roles").log_in().groups == ("vpn",)


@pytest.mark.parametrize("userinfo", [{}, {"groups": None}, {"groups": []}, {"roles": ["staff"]}], ids=str)
def test_groups_absent_in_both_are_no_groups(provider: Provider, desk: LoginDesk, userinfo: dict[str, Any]) -> None:
    provider.userinfo = userinfo
    assert desk.log_in().groups == ()


def test_userinfo_changes_nothing_but_the_groups(provider: Provider, desk: LoginDesk) -> None:
    provider.userinfo |= {"preferred_username": "carol", "iss": "https://evil.example", "sid": "x", "auth_time": 1}
    login = desk.log_in()
    assert (login.user, login.subject, login.issuer, login.sid) == (
        "alice",
        "sub-alice",
        ISSUER,
        provider.sids["alice"],
    )


def test_the_type_of_the_token_may_be_written_in_any_case(provider: Provider, desk: LoginDesk) -> None:
    provider.token_answer["token_type"] = "bEaReR"
    assert desk.log_in().groups == ("finance", "staff")


# about whom it speaks


@pytest.mark.parametrize(
    "sub", ["sub-bob", "SUB-ALICE", "", " sub-alice", None, 7, ["sub-alice"], {"sub": "sub-alice"}], ids=str
)
def test_an_answer_about_anybody_else_is_refused(provider: Provider, desk: LoginDesk, sub: object) -> None:
    """userinfo-invalid-sub"""
    provider.userinfo["sub"] = sub
    assert refused(desk, Unauthenticated, "another user") == "login-userinfo"


# what it says


@pytest.mark.parametrize("groups", [7, True, {"staff": True}, "", [7], ["staff", ""], ["staff\n"]], ids=str)
def test_groups_that_are_no_list_of_names_are_refused(provider: Provider, desk: LoginDesk, groups: object) -> None:
    provider.userinfo["groups"] = groups
    assert refused(desk, Unauthenticated, "groups must be a list") == "login-groups"


@pytest.mark.parametrize("where", ["ID token", "userinfo"])
def test_groups_that_stand_elsewhere_are_refused_and_not_taken_for_none(
    provider: Provider, desk: LoginDesk, where: str
) -> None:
    """distributed-claims, aggregated-claims"""
    elsewhere = {"_claim_names": {"groups": "a"}, "_claim_sources": {"a": {"endpoint": "https://graph.example"}}}
    if where == "userinfo":
        provider.userinfo = elsewhere
    else:
        provider.id_token = lambda draft: jws(
            draft.header, {**{k: v for k, v in draft.claims.items() if k != "groups"}, **elsewhere}, draft.signer.sign
        )
    assert refused(desk, Unauthenticated, "keeps groups elsewhere") == "login-groups"
    assert desk.asked([USERINFO]) == (where == "userinfo")


def test_a_signed_answer_is_refused_with_what_to_do(provider: Provider, desk: LoginDesk) -> None:
    """userinfo-signed"""
    token = jws({"alg": "RS256", "kid": "one"}, {"sub": "sub-alice", "groups": ["staff"]}, Signer("one").sign)
    headers = {"content-type": "application/jwt"}
    provider.answers[USERINFO] = lambda _: httpx2.Response(200, content=token.encode(), headers=headers)
    refused(desk, ProviderError, "userinfo_signed_response_alg")


JSON = b'{"sub": "sub-alice", "groups": ["staff"]}'


def says(content: bytes, status: int = 200, **headers: str) -> Callable[[], httpx2.Response]:
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda: httpx2.Response(status, content=content, headers=named)


LIES = {
    "text that looks like JSON": (says(JSON, content_type="text/plain"), "must be application/json"),
    "a page": (says(b"<html>", content_type="text/html"), "must be application/json"),
    "no type": (lambda: httpx2.Response(200, content=JSON), "must be application/json"),
    "JSON by another name": (says(JSON, content_type="application/json+x"), "must be application/json"),
    "no JSON": (says(b"{"), "is not JSON"),
    "nothing": (says(b""), "is not JSON"),
    "a list": (says(b"[]"), "must be a JSON object"),
    "a member twice": (says(JSON[:-1] + b', "sub": "sub-bob"}'), "twice"),
    "no UTF-8": (says(b'{"sub": "\xff"}'), "UTF-8"),
    "a deep value": (says(b'{"a": ' * 5000 + b"1" + b"}" * 5000), "deeper"),
    "more than the cap": (says(b" " * (LARGEST_ANSWER + 1) + JSON), "more than"),
    "compressed": (says(JSON, content_encoding="br"), "compressed"),
    "a redirect": (says(b"", 302, location="https://evil.example/"), "answered 302"),
    "created": (says(JSON, 201), "answered 201"),
    "nobody": (says(JSON, 401), "answered 401"),
    "a failure": (says(JSON, 500), "answered 500"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_none_ends_the_login(provider: Provider, desk: LoginDesk, lie: str) -> None:
    answer, reason = LIES[lie]
    provider.answers[USERINFO] = lambda _: answer()
    refused(desk, ProviderError, reason)
    assert desk.asked([USERINFO]) == 1
    del provider.answers[USERINFO]
    assert desk.log_in().groups == ("finance", "staff")


def test_json_may_name_its_character_set(provider: Provider, desk: LoginDesk) -> None:
    provider.answers[USERINFO] = lambda _: says(JSON, content_type="Application/JSON; charset=utf-8")()
    assert desk.log_in().groups == ("staff",)


# what it is asked with


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a b"},
        {"access_token": "a\r\nX-Injected: 1"},
        {"access_token": "é"},
        {"access_token": "a" * 16_385},
        {"token_type": None},
        {"token_type": "DPoP"},
        {"token_type": 7},
    ],
    ids=lambda answer: str(answer)[:40],
)
def test_without_a_bearer_token_nobody_is_asked_and_nobody_logs_in(
    provider: Provider, desk: LoginDesk, answer: dict[str, Any]
) -> None:
    provider.token_answer = answer
    provider.id_token = lambda draft: jws(
        draft.header, {k: v for k, v in draft.claims.items() if k not in ("groups", "at_hash")}, draft.signer.sign
    )
    with pytest.raises((Unauthenticated, ProviderError)):
        desk.log_in()
    assert desk.asked([USERINFO]) == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"])
def test_an_endpoint_at_an_inner_address_is_never_asked(provider: Provider, host: str) -> None:
    """SSRF: the provider's metadata may not lead the token, or us, into our own network."""
    provider.metadata["userinfo_endpoint"] = "https://inner.example/userinfo"
    party = RelyingParty(
        issuer=ISSUER,
        client_id=CLIENT,
        client_secret=None,
        redirect_uri=CALLBACK,
        groups_claim="groups",
        http=Egress(
            allow_loopback=False,
            resolve=lambda name, _port: [ip_address(host) if name == "inner.example" else ADDRESS],
            wire=provider,
        ),
    )
    desk = LoginDesk(provider)
    desk.party = party
    refused(desk, ProviderError, "no provider may have")
    assert desk.asked([USERINFO]) == 0
