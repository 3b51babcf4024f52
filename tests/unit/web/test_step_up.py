"""A login that ends, and one that is renewed or made stronger: the live session goes on in its tunnel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlmodel import select

from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.gateway import FULL, LIMITED, POLICY, QUARANTINE, Device, World
from tests.sim.provider import Draft, Provider

STEP_UP = POLICY.replace("[10.20.5.0/24], ports: [tcp/443]}", "[10.20.5.0/24], ports: [tcp/443], max_age: 1h, acr_values: [phr]}")  # fmt: skip
RENEWABLE = STEP_UP.replace("reauthenticate: 12h}", "reauthenticate: 2h, without_login: quarantine}").replace(
    "idle: 30m", "idle: 12h"
)


class Desk:
    """Alice, her laptop, and a provider whose clock is the gateway's."""

    def __init__(self, world: World) -> None:
        self.world, self.provider = world, Provider()
        world.use_provider(self.provider)
        self.acr: object = "pwd"
        self.authenticated = timedelta(seconds=5)
        self.provider.id_token = self._says
        self.laptop = Device(world)

    def _says(self, draft: Draft) -> str:
        at = (self.provider.now - self.authenticated).timestamp()
        return draft.with_claims(acr=self.acr, amr=["pwd", "otp"], auth_time=int(at), email="Alice@Example.com")

    def asks(self, **claims: object) -> dict[str, str]:
        """Begin a login on the laptop. Gives what the provider is asked."""
        self.name = self.laptop.ask_enrolment(**claims).json()["enrolment"]
        sent = self.world.browser.get(f"/login/{self.name}")
        self.url = sent.headers["location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def answers(self) -> httpx2.Response:
        answer = self.laptop.come_back(self.provider.authorize(self.url))
        if answer.status_code != 303:
            return answer
        return self.laptop.confirm(self.name, parse_qs(urlsplit(answer.headers["location"]).query)["code"][0])

    def log_in(self, **claims: object) -> httpx2.Response:
        self.asks(**claims)
        return self.answers()

    def passes(self, minutes: float) -> None:
        """Time passes, and the agent keeps reporting."""
        for _ in range(int(minutes * 2)):
            self.provider.now += timedelta(seconds=30)
            self.world.passes(30)
            self.told = self.laptop.report()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    world = World(tmp_path, policy=RENEWABLE)
    world.tick()
    yield Desk(world)
    world.close()


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_resource_that_asks_for_more_opens_by_a_login_in_the_live_session(desk: Desk) -> None:
    assert desk.log_in().status_code == 200
    desk.laptop.connect()
    assert desk.laptop.reach == LIMITED
    told = desk.laptop.report().json()
    assert told["step_up"] == [{"resource": "payroll", "max_age": 3600, "acr_values": ["phr"]}]
    assert told["tier"] == "full"
    session, key = desk.laptop.session, desk.laptop.public_key

    asked = desk.asks(resource="payroll")
    assert (asked["prompt"], asked["max_age"], asked["acr_values"]) == ("login", "3600", "phr")
    desk.acr = "phr"
    assert desk.answers().status_code == 200
    assert desk.laptop.reach == FULL, "before the answer went out"
    assert (desk.laptop.session, desk.laptop.public_key) == (session, key)
    assert desk.laptop.report().json()["step_up"] == []
    assert "session.renewed" in desk.world.audit()


def test_a_login_that_is_not_what_was_asked_for_opens_nothing(desk: Desk) -> None:
    desk.log_in()
    desk.laptop.connect()
    refused(desk.log_in(resource="payroll"), 401, "login-acr")
    desk.acr, desk.authenticated = "phr", timedelta(minutes=61)
    refused(desk.log_in(resource="payroll"), 401, "login-age")
    for auth_time in (None, 0):
        desk.provider.id_token = lambda draft, at=auth_time: draft.with_claims(acr="phr", auth_time=at)
        refused(desk.log_in(resource="payroll"), 401, "login-age")
    assert desk.laptop.reach == LIMITED


@pytest.mark.parametrize("resource", ["wiki", "nowhere", "", 7, ["payroll"]])
def test_a_login_can_be_asked_for_only_by_what_asks_for_one(desk: Desk, resource: object) -> None:
    refused(desk.laptop.ask_enrolment(resource=resource), 400, "resource-unknown")


def test_the_first_login_may_be_one_that_the_provider_has_and_a_later_one_is_typed_in(desk: Desk) -> None:
    assert "prompt" not in desk.asks()
    desk.answers()
    assert desk.asks()["prompt"] == "login"


def test_a_resource_closes_when_its_login_is_too_old_after_two_warnings(desk: Desk) -> None:
    desk.acr = "phr"
    desk.log_in()
    desk.laptop.connect()
    seen: dict[str, float] = {}
    for half_minutes in range(1, 121):
        desk.passes(0.5)
        for finding in desk.told.json()["findings"]:
            seen.setdefault(finding["reason"], half_minutes / 2)
        assert (desk.laptop.reach == FULL) == (half_minutes / 2 + 5 / 60 < 60), half_minutes
    assert seen == {
        "payroll closes within 10m: it needs a younger login": 50.0,
        "payroll closes within 2m: it needs a younger login": 58.0,
    }


def test_at_the_limit_the_session_drops_to_the_tier_of_the_policy_and_a_login_restores_it(desk: Desk) -> None:
    desk.log_in()
    desk.laptop.connect()
    desk.passes(119.5)
    assert desk.laptop.reach == LIMITED
    assert [f["reason"] for f in desk.told.json()["findings"]] == ["log in again within 2m"]
    desk.passes(0.5)
    assert desk.laptop.reach == QUARANTINE
    assert [(f["check"], f["effective"], f["fix"]) for f in desk.told.json()["findings"]] == [
        ("login", True, "sallyport-agent login")
    ]
    assert desk.log_in().status_code == 200
    assert desk.laptop.reach == LIMITED
    assert desk.laptop.report().json()["findings"] == []


def test_a_login_before_the_limit_extends_without_a_gap(desk: Desk) -> None:
    desk.log_in()
    desk.laptop.connect()
    desk.passes(115)
    assert desk.log_in().status_code == 200
    session = desk.laptop.session
    for _ in range(20):
        desk.passes(0.5)
        assert desk.laptop.reach == LIMITED
    assert desk.laptop.session == session
    assert desk.told.json()["findings"] == []


def test_without_such_a_tier_the_session_ends_at_the_limit_and_a_login_in_time_prevents_it(tmp_path: Path) -> None:
    world = World(tmp_path, policy=RENEWABLE.replace(", without_login: quarantine", ""))
    world.tick()
    desk = Desk(world)
    desk.log_in()
    desk.laptop.connect()
    desk.passes(118)
    assert [f["tier"] for f in desk.told.json()["findings"]] == ["denied"]
    desk.log_in()
    desk.passes(4)
    assert desk.laptop.reach == LIMITED
    desk.passes(120)
    assert desk.laptop.reach is None
    world.close()


def test_another_users_login_never_renews_the_session(desk: Desk) -> None:
    desk.log_in()
    desk.laptop.connect()
    desk.asks()
    refused(desk.laptop.come_back(desk.provider.authorize(desk.url, "bob")), 409, "device-of-another-user")
    with reading(desk.world.engine) as db:
        assert {row.user for row in db.exec(select(tables.Session)).all()} == {"alice"}


def test_what_the_provider_says_of_the_login_is_kept_and_its_tokens_are_not_readable(desk: Desk) -> None:
    desk.acr = "phr"
    desk.log_in()
    with reading(desk.world.engine) as db:
        login = db.exec(select(tables.Login)).one()
    assert (login.acr, login.amr, login.email) == ("phr", ["pwd", "otp"], "alice@example.com")
    assert login.id_token is not None
    assert "." not in login.id_token
    assert desk.world.deployment.unseal(login.id_token).count(".") == 2
    for broken in (login.id_token[:-2], login.id_token[1:], "", "x"):
        with pytest.raises(ValueError):
            desk.world.deployment.unseal(broken)


@pytest.mark.parametrize(
    ("acr", "amr", "kept"),
    [(None, None, (None, [])), (2, "pwd", (None, [])), ("", [1, "otp", None], (None, ["otp"])), ("x" * 300, {}, (None, []))],
)  # fmt: skip
def test_a_class_or_method_that_is_no_name_opens_nothing(
    desk: Desk, acr: object, amr: object, kept: tuple[str | None, list[str]]
) -> None:
    desk.provider.id_token = lambda draft: draft.with_claims(acr=acr, amr=amr)
    assert desk.log_in().status_code == 200
    with reading(desk.world.engine) as db:
        login = db.exec(select(tables.Login)).one()
    assert (login.acr, login.amr) == kept


def test_a_login_leads_somewhere_once_also_at_another_replica_and_with_a_new_code(desk: Desk) -> None:
    desk.asks()
    cookies = dict(desk.world.browser.cookies)
    first = desk.laptop.come_back(desk.provider.authorize(desk.url))
    assert first.status_code == 303
    for browser in (desk.world.browser, desk.world.new_browser()):
        desk.world.browser = browser
        browser.cookies.update(cookies)
        refused(desk.laptop.come_back(desk.provider.authorize(desk.url)), 401, "login-used")


def test_when_too_many_logins_are_remembered_new_ones_are_refused_and_none_is_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.attempts.MOST_SPENT", 1)
    desk.asks()
    cookies = dict(desk.world.browser.cookies)
    assert desk.answers().status_code == 200
    refused(desk.log_in(), 503, "busy")
    desk.world.browser.cookies.update(cookies)
    desk.world.passes(700)
    desk.provider.now += timedelta(seconds=700)
    assert desk.log_in().status_code == 200, "its cookie is too old by now"
