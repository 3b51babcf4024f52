"""The relying party at a provider that lies outside of the ID token: the way there, the way back, the token endpoint."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity.oidc import LONGEST_CODE
from tests.sim.provider import CALLBACK, CLIENT, ISSUER, TOKEN, LoginDesk, Provider


def refused(desk: LoginDesk, reason: str, **changes: str | None) -> str:
    """A login whose answer at the callback has these members changed, or left out. Gives what a person reads."""
    begun = desk.begin()
    query: dict[str, str | None] = {**desk.provider.authorize(begun.url), **changes}
    with pytest.raises(Unauthenticated) as refusal:
        desk.finish({name: value for name, value in query.items() if value is not None}, begun.state)
    assert refusal.value.code == reason, str(refusal.value)
    return str(refusal.value)


# the way there


def test_a_login_sends_the_browser_with_state_nonce_and_a_pkce_challenge(desk: LoginDesk) -> None:
    begun = desk.begin()
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    assert begun.url.startswith(f"{ISSUER}/authorize?")
    assert asked.pop("code_challenge") not in (begun.state.verifier, "")
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": CALLBACK,
        "scope": "openid profile groups",
        "state": begun.state.state,
        "nonce": begun.state.nonce,
        "code_challenge_method": "S256",
    }
    assert begun.state.verifier not in begun.url


def test_secrets_are_long_and_never_the_same(desk: LoginDesk) -> None:
    states = [desk.begin().state for _ in range(50)]
    secrets = {secret for state in states for secret in (state.state, state.nonce, state.verifier)}
    assert len(secrets) == 150
    assert {len(secret) for secret in secrets} == {43}


def test_only_scopes_that_the_provider_knows_are_asked_for(provider: Provider, desk: LoginDesk) -> None:
    provider.metadata["scopes_supported"] = ["openid", "email", "offline_access", "address"]
    assert parse_qs(urlsplit(desk.begin().url).query)["scope"] == ["openid email"]


def test_an_endpoint_keeps_its_own_query(provider: Provider, desk: LoginDesk) -> None:
    provider.metadata["authorization_endpoint"] = f"{ISSUER}/authorize?tenant=a"
    assert parse_qs(urlsplit(desk.begin().url).query)["tenant"] == ["a"]


def test_a_login_says_who_it_is_and_what_for(desk: LoginDesk) -> None:
    login = desk.log_in()
    assert (login.issuer, login.subject, login.user) == (ISSUER, "sub-alice", "alice")
    assert login.groups == ("finance", "staff")
    assert login.purpose == "admin"


# the way back


@pytest.mark.parametrize("state", [None, "", "another", "ä", "\ud800", "s" * 100_000])
def test_an_answer_to_another_login_is_refused(desk: LoginDesk, state: str | None) -> None:
    assert "another login" in refused(desk, "login-state", state=state)
    assert desk.asked([TOKEN]) == 0


@pytest.mark.parametrize("issuer", ["", "https://evil.example", f"{ISSUER}/", ISSUER.upper()])
def test_an_answer_of_another_provider_is_refused(provider: Provider, desk: LoginDesk, issuer: str) -> None:
    """RFC 9207, and also when the provider does not promise to say its name but somebody else does."""
    refused(desk, "login-issuer", iss=issuer)
    provider.metadata["authorization_response_iss_parameter_supported"] = None
    refused(LoginDesk(provider), "login-issuer", iss=issuer)
    assert desk.asked([TOKEN]) == 0


def test_an_answer_without_a_name_is_refused_when_the_provider_promised_one(
    provider: Provider, desk: LoginDesk
) -> None:
    refused(desk, "login-issuer", iss=None)
    provider.metadata["authorization_response_iss_parameter_supported"] = False
    desk = LoginDesk(provider)
    begun = desk.begin()
    query = provider.authorize(begun.url)
    del query["iss"]
    assert desk.finish(query, begun.state).user == "alice"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("access_denied", "access_denied"),
        ("", ""),
        (" ~tilde ", " ~tilde "),
        ('<script>"\\\x1b[31m\nfake log line', "<script>[31mfake log line"),
        ("x" * 10_000, "x" * 80),
    ],
)
def test_an_answer_with_an_error_shows_what_may_be_shown(desk: LoginDesk, error: str, shown: str) -> None:
    assert refused(desk, "login-denied", error=error, code=None).endswith(f"did not log in: {shown}")
    assert desk.asked([TOKEN]) == 0


def test_an_error_beside_a_code_is_an_error(desk: LoginDesk) -> None:
    refused(desk, "login-denied", error="access_denied")
    assert desk.asked([TOKEN]) == 0


@pytest.mark.parametrize("code", [None, "", "ä", "\ud800", "c\0", "c\r\nHost: x", "c" * (LONGEST_CODE + 1)])
def test_an_answer_without_a_code_is_refused(desk: LoginDesk, code: str | None) -> None:
    refused(desk, "login-code", code=code)
    assert desk.asked([TOKEN]) == 0


@pytest.mark.parametrize("code", ["unknown", "c" * LONGEST_CODE, "a&code=b", "a b", "%00"])
def test_a_code_that_the_provider_does_not_know_is_refused(desk: LoginDesk, code: str) -> None:
    refused(desk, "login-code", code=code)


def test_a_code_works_once(desk: LoginDesk) -> None:
    begun = desk.begin()
    query = desk.provider.authorize(begun.url)
    assert desk.finish(query, begun.state).user == "alice"
    with pytest.raises(Unauthenticated, match="used up"):
        desk.finish(query, begun.state)


def test_a_code_of_another_login_is_refused_by_its_challenge(desk: LoginDesk) -> None:
    """Code injection: the attacker's code in the victim's browser, with the victim's state."""
    attacker = desk.provider.authorize(desk.begin().url, "bob")
    refused(desk, "login-code", code=attacker["code"])


# the token endpoint


@pytest.mark.parametrize(
    ("secret", "methods", "header", "in_form"),
    [
        (None, ["client_secret_basic"], None, {"client_id": CLIENT}),
        ("a secret: with & signs", ["client_secret_basic", "client_secret_post"], "basic", {}),
        ("s3cret", ["private_key_jwt"], "basic", {}),
        ("s3cret", None, "basic", {}),
        ("s3cret", ["client_secret_post"], None, {"client_id": CLIENT, "client_secret": "s3cret"}),
    ],
)
def test_the_client_proves_itself_as_the_provider_wants(
    provider: Provider, secret: str | None, methods: list[str] | None, header: str | None, in_form: dict[str, str]
) -> None:
    provider.metadata["token_endpoint_auth_methods_supported"] = methods
    LoginDesk(provider, client_secret=secret).log_in()
    request = next(request for request in provider.requests if request.url.path == TOKEN)
    form = dict(parse_qsl(request.content.decode()))
    assert {name: value for name, value in form.items() if name.startswith("client")} == in_form
    assert form["grant_type"] == "authorization_code"
    if header:
        assert request.headers["authorization"] == f"Basic {b64encode(f'{CLIENT}:{secret}'.encode()).decode()}"
    else:
        assert "authorization" not in request.headers


NONSENSE: dict[str, Callable[[], httpx2.Response]] = {
    "500": lambda: httpx2.Response(500, text="oops"),
    "503 with json": lambda: httpx2.Response(503, json={"error": "temporarily_unavailable"}),
    "a page": lambda: httpx2.Response(200, text="<!doctype html>"),
    "a page with 400": lambda: httpx2.Response(400, text="<!doctype html>"),
    "nothing": lambda: httpx2.Response(200),
    "no content": lambda: httpx2.Response(204),
    "a list": lambda: httpx2.Response(200, json=[]),
    "a text": lambda: httpx2.Response(200, json="text"),
    "null": lambda: httpx2.Response(200, text="null"),
    "a redirect": lambda: httpx2.Response(302, headers={"location": "http://169.254.169.254/"}),
    "a redirect that keeps the method": lambda: httpx2.Response(307, headers={"location": f"{ISSUER}/other"}),
    "another encoding": lambda: httpx2.Response(200, content='{"a": "ä"}'.encode("latin-1")),
    "deep nesting": lambda: httpx2.Response(200, content=b"[" * 200_000),
    "too much": lambda: httpx2.Response(200, content=b" " * (1 << 21)),
    "compressed": lambda: httpx2.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"{}")),
    "invalid_client": lambda: httpx2.Response(401, json={"error": "invalid_client"}),
    "an error with 200": lambda: httpx2.Response(200, json={"error": "server_error"}),
    "an error that is null": lambda: httpx2.Response(400, json={"error": None}),
    "an error that is a number": lambda: httpx2.Response(400, json={"error": 5}),
    "an error that is a list": lambda: httpx2.Response(400, json={"error": ["invalid_grant"]}),
    "an error that is an object": lambda: httpx2.Response(400, json={"error": {"code": 5}}),
    "an error with a description that is none": lambda: httpx2.Response(
        400, json={"error": "x", "error_description": {}}
    ),
    "a lifetime that is a text": lambda: httpx2.Response(200, json={"expires_in": "soon"}),
    "a lifetime without end": lambda: httpx2.Response(200, content=b'{"expires_in": Infinity}'),
    "an end that is an object": lambda: httpx2.Response(200, json={"expires_at": {}}),
    "a huge integer": lambda: httpx2.Response(200, content=b'{"expires_in": ' + b"9" * 5000 + b"}"),
}


@pytest.mark.parametrize("answer", NONSENSE)
def test_nonsense_from_the_token_endpoint_is_a_problem_of_the_provider(
    provider: Provider, desk: LoginDesk, answer: str
) -> None:
    provider.answers[TOKEN] = lambda _: NONSENSE[answer]()
    with pytest.raises(ProviderError, match=TOKEN) as refusal:
        desk.log_in()
    assert len(str(refusal.value)) < 400
    assert desk.asked([TOKEN]) == 1
    del provider.answers[TOKEN]
    assert desk.log_in().user == "alice"


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout(""), httpx2.RemoteProtocolError("x")]
)
def test_a_token_endpoint_that_is_down_is_a_problem_of_the_provider(
    provider: Provider, desk: LoginDesk, error: Exception
) -> None:
    def down(_request: httpx2.Request) -> httpx2.Response:
        raise error

    provider.answers[TOKEN] = down
    with pytest.raises(ProviderError, match=TOKEN):
        desk.log_in()


@pytest.mark.parametrize(
    "members",
    [
        {"access_token": None},
        {"access_token": 7},
        {"access_token": ["a"]},
        {"access_token": "ä"},
        {"access_token": ""},
        {"token_type": None},
        {"token_type": 7},
        {"expires_in": -1},
        {"expires_in": 1e300},
        {"expires_at": "never"},
    ],
    ids=str,
)
def test_members_beside_the_id_token_change_nothing(
    provider: Provider, desk: LoginDesk, members: dict[str, Any]
) -> None:
    provider.id_token = lambda draft: draft.without("at_hash")
    provider.token_answer = {**members}
    assert desk.log_in().user == "alice"


def test_the_id_token_of_one_login_is_none_for_the_next(provider: Provider, desk: LoginDesk) -> None:
    """The client behind it must not remember: a token endpoint that says nothing gives no login."""
    desk.log_in()
    provider.answers[TOKEN] = lambda _: httpx2.Response(200, json={"access_token": "a", "token_type": "Bearer"})
    with pytest.raises(Unauthenticated) as refusal:
        desk.log_in()
    assert refusal.value.code == "login-token-missing"


# reachable


def test_a_provider_is_reachable_when_a_login_could_begin(provider: Provider) -> None:
    assert LoginDesk(provider).party.reachable()
    provider.metadata["issuer"] = "https://evil.example"
    assert not LoginDesk(provider).party.reachable()


def test_probes_are_answered_from_memory(provider: Provider) -> None:
    provider.answers["/.well-known/openid-configuration"] = lambda _: httpx2.Response(503)
    party = LoginDesk(provider).party
    assert not any(party.reachable() for _ in range(100))
    assert len(provider.asked) == 1
