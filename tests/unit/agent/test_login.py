"""Logging in: a browser comes back to a loopback port, and only with what belongs to this enrolment."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.client import Gateway
from agent.device_key import DeviceKey
from agent.errors import AgentError, Problem
from agent.login import log_in, log_in_elsewhere
from tests.unit.agent.conftest import Request, Server
from tests.unit.agent.test_client import says_json


def claims(body: bytes) -> dict[str, Any]:
    said = body.split(b".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(said + b"=" * (-len(said) % 4)))
    return read


class Login:
    """A gateway that enrols `abc` with the code `right`, and a browser that asks for what a test says."""

    def __init__(self, server: Server, key: DeviceKey) -> None:
        self.server = server
        self.gateway = Gateway(server.url, key, None)
        self.statuses: list[int] = []
        self.told: list[str] = []
        self.redirect_uri = ""
        server.answer = self._answer

    def _answer(self, request: Request) -> None:
        given = claims(self.server.asked[-1][3])
        if request.path == "/v1/enrolments":
            self.redirect_uri = given["redirect_uri"]
            says_json(request, {"enrolment": "abc", "login_url": f"{self.server.url}/login/abc"})
        elif request.path == "/v1/enrolments/abc/confirm" and given["code"] == "right":
            says_json(request, {"user": "alice"})
        else:
            says_json(request, {"code": "code-wrong", "detail": "that is not the code"}, status=403)

    def browse(self, *paths: str, method: str = "GET") -> None:
        where = urlsplit(self.redirect_uri)
        assert where.hostname == "127.0.0.1"
        for path in paths:
            connection = http.client.HTTPConnection("127.0.0.1", where.port or 0, timeout=10)
            connection.request(method, path)
            self.statuses.append(connection.getresponse().status)
            connection.close()

    def run(self, *paths: str, patience: float = 20.0) -> str:
        def tell(url: str) -> None:
            self.told.append(url)
            self.browse(*paths)

        return log_in(self.gateway, "laptop", tell=tell, browser=False, patience=patience)


@pytest.fixture
def login(server: Server, device_key: DeviceKey) -> Iterator[Login]:
    made = Login(server, device_key)
    yield made
    made.gateway.close()


def test_the_browser_comes_back_with_the_code_and_the_device_is_enrolled(login: Login) -> None:
    assert login.run("/?enrolment=abc&code=right") == "alice"
    assert login.told == [f"{login.server.url}/login/abc"]
    assert login.statuses == [200]


def test_what_belongs_to_no_login_of_ours_is_not_taken(login: Login) -> None:
    wrong = (
        "/",
        "/?code=right",
        "/?enrolment=abc",
        "/?enrolment=abd&code=right",
        "/other?enrolment=abc&code=right",
        "/%00",
    )
    assert login.run(*wrong, "/?enrolment=abc&code=right") == "alice"
    assert login.statuses == [404] * len(wrong) + [200]


def test_a_code_that_the_gateway_refuses_is_an_error(login: Login) -> None:
    with pytest.raises(Problem, match="not the code"):
        login.run("/?enrolment=abc&code=wrong")


def test_nobody_is_waited_for_without_end(login: Login) -> None:
    with pytest.raises(AgentError, match="nobody has logged in"):
        login.run(patience=0.2)
    with pytest.raises(OSError):
        login.browse("/?enrolment=abc&code=right")


class Grant:
    """A gateway that answers a device's questions with these codes, then with alice."""

    def __init__(self, server: Server, key: DeviceKey, *codes: str) -> None:
        self.gateway = Gateway(server.url, key, None)
        self.waited: list[float] = []
        self.told: list[tuple[str, str]] = []
        self._codes = list(codes)
        self._server = server
        server.answer = self._answer

    def _answer(self, request: Request) -> None:
        given = claims(self._server.asked[-1][3])
        assert given["device_code"] is True
        if request.path == "/v1/enrolments":
            says_json(
                request,
                {
                    "enrolment": "abc",
                    "verification_uri": f"{self._server.url}/device",
                    "user_code": "BCDF-GHJK",
                    "interval": 5,
                },
            )
        elif self._codes:
            code = self._codes.pop(0)
            says_json(request, {"code": code, "detail": "wait"}, status=404 if code == "enrolment-unknown" else 400)
        else:
            says_json(request, {"user": "alice"})

    def run(self) -> str:
        return log_in_elsewhere(
            self.gateway, "laptop", tell=lambda *told: self.told.append(told), wait=self.waited.append
        )


def test_a_machine_without_a_screen_asks_until_somebody_has_let_it_in(server: Server, device_key: DeviceKey) -> None:
    grant = Grant(server, device_key, "authorization_pending", "slow_down", "authorization_pending")
    assert grant.run() == "alice"
    assert grant.told == [(f"{server.url}/device", "BCDF-GHJK")]
    assert grant.waited == [5, 5, 10, 10]


def test_a_login_that_was_refused_elsewhere_is_one_clear_error(server: Server, device_key: DeviceKey) -> None:
    with pytest.raises(AgentError, match="refused or took too long"):
        Grant(server, device_key, "authorization_pending", "enrolment-unknown").run()


def test_any_other_refusal_ends_the_asking(server: Server, device_key: DeviceKey) -> None:
    with pytest.raises(Problem):
        Grant(server, device_key, "login-too-old").run()
