"""The development provider: real in what a relying party sees, strict in what OAuth asks for, lenient about people."""

from __future__ import annotations

import hashlib
import random
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from gateway.development.__main__ import main
from gateway.development.page import login_page
from gateway.development.provider import (
    CODE_LIFETIME,
    LARGEST_FORM,
    MOST_PENDING,
    REQUEST_LIFETIME,
    USERS,
    DevelopmentProvider,
)
from gateway.errors import Unauthenticated
from gateway.identity.http import Egress
from gateway.identity.oidc import RelyingParty
from tests.sim.provider import base64url

ISSUER = "http://127.0.0.1:9400"
CALLBACK = "https://127.0.0.1:8443/callback"
VERIFIER = "v" * 43
CHALLENGE = base64url(hashlib.sha256(VERIFIER.encode()).digest())


class World(httpx2.BaseTransport):
    """A provider, a browser at it, and the gateway's own relying party on the other side of this transport."""

    def __init__(self) -> None:
        self.time = 0.0
        self.provider = DevelopmentProvider(ISSUER, CALLBACK, clock=lambda: self.time)
        self.browser = TestClient(self.provider.app, base_url=ISSUER, follow_redirects=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        answer = self.browser.request(request.method, path, content=request.read(), headers=request.headers)
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def party(self, secret: str | None = None) -> RelyingParty:
        way_out = Egress(True, resolve=lambda _host, _port: [ip_address("127.0.0.1")], wire=self)
        return RelyingParty(
            issuer=ISSUER,
            client_id="sallyport",
            client_secret=secret,
            redirect_uri=CALLBACK,
            groups_claim="groups",
            http=way_out,
        )

    def ask(self, **changes: str | None) -> httpx2.Response:
        asked = {
            "response_type": "code",
            "client_id": "sallyport",
            "redirect_uri": CALLBACK,
            "scope": "openid groups",
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return self.browser.get(
            "/authorize", params={name: value for name, value in asked.items() if value is not None}
        )

    def choose(self, request: str, user: str = "alice") -> httpx2.Response:
        return self.browser.post("/login", data={"request": request, "user": user})

    def request(self) -> str:
        """A pending authorization request, by the name that the page carries."""
        page = self.browser.get(self.ask().headers["location"]).text
        found = re.search(r'name="request" value="([^"]+)"', page)
        assert found
        return found[1]

    def code(self, user: str = "alice") -> str:
        return query(self.choose(self.request(), user))["code"]

    def redeem(self, code: str, headers: httpx2.Headers | None = None, **changes: str | None) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "client_id": "sallyport",
            **changes,
        }
        return self.browser.post("/token", data={n: v for n, v in form.items() if v is not None}, headers=headers)


def query(answer: httpx2.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def refused(answer: httpx2.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json()["error_description"]


@pytest.fixture(scope="module")
def shared() -> World:
    return World()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """One provider for all tests of this file, because making its key takes a moment."""
    yield shared
    shared.time += REQUEST_LIFETIME


# a login


@pytest.mark.parametrize("secret", [None, "any secret is right"])
@pytest.mark.parametrize("user", USERS)
def test_everybody_on_the_page_can_log_in_at_the_real_relying_party(
    world: World, user: str, secret: str | None
) -> None:
    party = world.party(secret)
    now = datetime.now(UTC)
    begun = party.begin("admin", entropy=random.randbytes, now=now)
    page = world.browser.get(begun.url, follow_redirects=True)
    assert all(f'value="{name}"' in page.text for name in USERS)
    back = world.choose(parse_qs(urlsplit(str(page.url)).query)["request"][0], user)
    assert back.headers["location"].startswith(f"{CALLBACK}?")

    login = party.finish(query(back), begun.state, now=now)
    assert (login.issuer, login.subject, login.user) == (ISSUER, f"development-{user}", user)
    assert login.groups == tuple(sorted(USERS[user]))

    with pytest.raises(Unauthenticated, match="used up"):
        party.finish(query(back), begun.state, now=now)


def test_the_page_says_that_it_is_not_for_real_work(world: World) -> None:
    page = world.browser.get(world.ask().headers["location"]).text
    assert "Never use it for real work" in page


def test_two_providers_have_two_keys() -> None:
    sets = [World().browser.get("/jwks").json()["keys"] for _ in range(2)]
    assert sets[0][0]["n"] != sets[1][0]["n"]
    assert "d" not in sets[0][0]


def test_a_page_shows_a_strangers_text_as_text() -> None:
    page = login_page('"><script>alert(1)</script>', {"<b>": ("&",)})
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&amp;" in page


# what it refuses


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": f"{CALLBACK}/"},
        {"redirect_uri": f"{CALLBACK}?next=x"},
        {"response_type": None},
        {"response_type": "token"},
        {"response_type": "code id_token"},
        {"scope": None},
        {"scope": "profile"},
        {"scope": "openidx"},
        {"code_challenge": None},
        {"code_challenge": "short"},
        {"code_challenge": VERIFIER + "v"},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
    ],
    ids=str,
)
def test_a_request_that_is_not_code_with_pkce_to_the_one_address_is_refused(
    world: World, changes: dict[str, str | None]
) -> None:
    assert world.ask().status_code == 303
    answer = world.ask(**changes)
    refused(answer, "invalid_request")
    assert "location" not in answer.headers


def test_a_request_is_answered_once(world: World) -> None:
    request = world.request()
    assert world.choose(request).status_code == 303
    refused(world.choose(request), "invalid_request")


@pytest.mark.parametrize("request_name", ["", "unknown", "ä", "x" * 10_000])
def test_a_request_that_nobody_made_is_refused(world: World, request_name: str) -> None:
    refused(world.choose(request_name), "invalid_request")


@pytest.mark.parametrize("user", ["", "mallory", "Alice", "alice ", "*"])
def test_nobody_else_can_be_chosen_and_the_request_is_still_there(world: World, user: str) -> None:
    request = world.request()
    refused(world.choose(request, user), "invalid_request")
    assert world.choose(request).status_code == 303


def test_a_request_ends_after_ten_minutes(world: World) -> None:
    early, late = world.request(), world.request()
    world.time += REQUEST_LIFETIME - 1
    assert world.choose(early).status_code == 303
    world.time += 1
    refused(world.choose(late), "invalid_request")


def test_a_code_ends_after_a_minute(world: World) -> None:
    early, late = world.code(), world.code()
    world.time += CODE_LIFETIME - 1
    assert world.redeem(early).status_code == 200
    world.time += 1
    refused(world.redeem(late), "invalid_grant")


def test_a_code_works_once_also_when_it_was_refused(world: World) -> None:
    code = world.code()
    assert world.redeem(code).status_code == 200
    refused(world.redeem(code), "invalid_grant")
    code = world.code()
    refused(world.redeem(code, code_verifier="w" * 43), "invalid_grant")
    refused(world.redeem(code), "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"grant_type": None}, "unsupported_grant_type", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"code": None}, "invalid_grant", 400),
        ({"code": "invented"}, "invalid_grant", 400),
        ({"redirect_uri": None}, "invalid_grant", 400),
        ({"redirect_uri": "https://evil.example/"}, "invalid_grant", 400),
        ({"code_verifier": None}, "invalid_grant", 400),
        ({"code_verifier": "v" * 42}, "invalid_grant", 400),
        ({"code_verifier": "v" * 44}, "invalid_grant", 400),
        ({"code_verifier": CHALLENGE}, "invalid_grant", 400),
        ({"code_verifier": "ä" * 43}, "invalid_grant", 400),
        ({"client_id": None}, "invalid_client", 401),
        ({"client_id": "another"}, "invalid_client", 401),
    ],
    ids=str,
)
def test_a_code_is_given_only_for_what_belongs_to_it(
    world: World, changes: dict[str, str | None], error: str, status: int
) -> None:
    code = {} if "code" in changes else {"code": world.code()}
    form: dict[str, Any] = {**code, **changes}
    refused(world.redeem(form.pop("code", None), **form), error, status)


@pytest.mark.parametrize(
    "credentials", ["", "not base64 !", "ä".encode().decode("latin-1"), b64encode(b"\xff:x").decode(), "another"]
)
def test_credentials_that_are_not_the_clients_are_refused(world: World, credentials: str) -> None:
    given = b64encode(b"another:secret").decode() if credentials == "another" else credentials
    headers = httpx2.Headers({b"authorization": f"Basic {given}".encode("latin-1")})
    refused(world.redeem(world.code(), headers), "invalid_client", 401)


def test_the_oldest_requests_make_room(world: World) -> None:
    first, second = world.request(), world.request()
    for _ in range(MOST_PENDING - 1):
        world.ask()
    refused(world.choose(first), "invalid_request")
    assert world.choose(second).status_code == 303


# forms


@pytest.mark.parametrize("path", ["/login", "/token"])
def test_a_form_that_is_too_large_is_refused_also_when_it_does_not_say_so(world: World, path: str) -> None:
    refused(world.browser.post(path, content=b"a" * (LARGEST_FORM + 1)), "invalid_request", 413)
    pieces = (b"a" * 1024 for _ in range(LARGEST_FORM // 1024 + 1))
    refused(world.browser.post(path, content=pieces), "invalid_request", 413)


@pytest.mark.parametrize(
    ("path", "error"), [("/login", "invalid_request"), ("/token", "unsupported_grant_type")], ids=["login", "token"]
)
@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"%zz=%", b"=&=&=", b"{}", b"a" * LARGEST_FORM], ids=repr)
def test_a_form_that_is_none_is_refused(world: World, path: str, error: str, body: bytes) -> None:
    refused(world.browser.post(path, content=body), error)


@pytest.mark.parametrize("path", ["/login", "/token"])
def test_a_form_with_too_many_fields_is_refused(world: World, path: str) -> None:
    body = "&".join(f"field{number}=x" for number in range(21)).encode()
    refused(world.browser.post(path, content=body), "invalid_request")


# the process


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:9400",
        "192.0.2.1:9400",
        "9400",
        ":9400",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "127.0.0.1:٩٤٠٠",
        "[::]:9400",
    ],
)
def test_the_process_listens_on_loopback_and_nowhere_else(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--listen", listen, "--redirect-uri", CALLBACK])
    assert ended.value.code == 2
    assert "must be a loopback address and a port" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--listen", f"127.0.0.1:{port}", "--redirect-uri", CALLBACK]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
