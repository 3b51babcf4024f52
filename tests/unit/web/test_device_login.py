"""The device authorization grant (RFC 8628): off by default, a code that cannot be guessed, and a person who consents."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlmodel import select

from agent import wire
from gateway.access import device_grant, enrolment
from gateway.errors import Unavailable
from gateway.store import tables
from gateway.store.engine import reading
from gateway.web import guesses
from gateway.web.guesses import Guesses
from tests.sim.gateway import FULL, POLICY, START, Device, World
from tests.sim.provider import Provider

CODES = POLICY.replace("reauthenticate: 12h}", "reauthenticate: 12h, device_code: true}")


class Desk:
    """A machine without a screen, and a person with a browser elsewhere."""

    def __init__(self, world: World) -> None:
        self.world, self.provider = world, Provider()
        world.use_provider(self.provider)
        self.machine = Device(world, "build <server>")

    def asks(self) -> dict[str, object]:
        answer = self.machine.ask_enrolment(device_code=True, redirect_uri=None)
        assert answer.status_code == 201, answer.text
        self.told: dict[str, object] = answer.json()
        return self.told

    def polls(self, device: Device | None = None) -> httpx2.Response:
        machine = device or self.machine
        body = machine.sign(wire.TYP_CONFIRM, {"device_code": True})
        return machine.post(f"/v1/enrolments/{self.told['enrolment']}/confirm", body)

    def types(self, code: object = None) -> httpx2.Response:
        return self.world.browser.get("/device", params={"user_code": str(code or self.told["user_code"])})

    def logs_in(self, user: str = "alice") -> httpx2.Response:
        sent = self.types()
        assert sent.status_code == 303, sent.text
        away = self.world.browser.get(sent.headers["location"])
        return self.machine.come_back(self.provider.authorize(away.headers["location"], user))

    def answers(self, page: httpx2.Response, said: str, **changes: str) -> httpx2.Response:
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
        return self.world.browser.post("/device/consent", data={**fields, "answer": said, **changes})

    def passes(self, seconds: float) -> None:
        self.world.passes(seconds)
        self.provider.now += timedelta(seconds=seconds)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    world = World(tmp_path, policy=CODES)
    world.tick()
    yield Desk(world)
    world.close()


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_person_elsewhere_lets_a_machine_in(desk: Desk) -> None:
    told = desk.asks()
    assert told["verification_uri"] == "https://gateway.example/device"
    assert told["interval"] == 5
    assert told["expires_in"] == 600, "RFC 8628 and this project: at most 15 minutes"
    assert "verification_uri_complete" not in told
    refused(desk.polls(), 400, "authorization_pending")

    page = desk.logs_in()
    assert page.status_code == 200
    for seen in ("build &lt;server&gt;", "testclient", "alice", "Asked from"):
        assert seen in page.text
    assert "build <server>" not in page.text
    desk.passes(5)
    refused(desk.polls(), 400, "authorization_pending")

    assert "You are logged in" in desk.answers(page, "allow").text
    desk.passes(5)
    answer = desk.polls()
    assert (answer.status_code, answer.json()["user"]) == (200, "alice"), answer.text
    assert desk.machine.connect().reach == FULL
    audit = desk.world.audit()
    assert audit.index("login.by-code") < audit.index("device.enrolled")


def test_without_the_policys_word_nobody_logs_in_by_a_code(world: World) -> None:
    device = Device(world)
    refused(device.ask_enrolment(device_code=True, redirect_uri=None), 403, "device-code-off")
    with reading(world.engine) as db:
        assert db.exec(select(tables.Enrolment)).all() == []


def test_a_person_who_says_no_lets_nobody_in(desk: Desk) -> None:
    desk.asks()
    page = desk.logs_in()
    assert "not let in" in desk.answers(page, "deny").text
    desk.passes(5)
    refused(desk.polls(), 404, "enrolment-unknown")
    refused(desk.answers(page, "allow"), 404, "enrolment-unknown")
    refused(desk.machine.begin(), 401, "device-unknown")


def test_a_login_without_consent_lets_nobody_in(desk: Desk) -> None:
    """Whoever is led through the login by a stranger's code has let nobody in yet."""
    desk.asks()
    page = desk.logs_in()
    for changes in ({"secret": "x" * 43}, {"secret": ""}, {"enrolment": "x" * 32}, {"answer": "yes"}, {"answer": ""}):
        answer = desk.answers(page, "allow", **changes)
        assert answer.status_code in (400, 401, 404), answer.text
    desk.passes(5)
    refused(desk.polls(), 400, "authorization_pending")
    code = re.findall(r'name="secret" value="([^"]*)"', page.text)[0]
    refused(desk.machine.confirm(str(desk.told["enrolment"]), code), 401, "login-pending")


def test_the_consent_is_given_once_and_the_code_is_used_up_by_the_login(desk: Desk) -> None:
    desk.asks()
    page = desk.logs_in()
    refused(desk.types(), 404, "user-code-unknown")
    assert desk.answers(page, "allow").status_code == 200
    refused(desk.answers(page, "deny"), 401, "consent-unknown")


def test_another_devices_key_asks_for_nothing(desk: Desk) -> None:
    desk.asks()
    desk.answers(desk.logs_in(), "allow")
    other = Device(desk.world, "other")
    answer = desk.polls(other)
    assert answer.status_code in (400, 401, 404), answer.text
    assert desk.polls().status_code == 200


def test_a_device_that_asks_too_often_must_wait_longer_each_time(desk: Desk) -> None:
    desk.asks()
    refused(desk.polls(), 400, "authorization_pending")
    desk.passes(4)
    refused(desk.polls(), 400, "slow_down")
    desk.passes(9)
    refused(desk.polls(), 400, "slow_down")
    desk.passes(15)
    refused(desk.polls(), 400, "authorization_pending")


def test_a_code_ends_after_ten_minutes(desk: Desk) -> None:
    desk.asks()
    desk.passes(enrolment.LIFETIME.total_seconds())
    refused(desk.types(), 404, "user-code-unknown")
    refused(desk.polls(), 404, "enrolment-unknown")


@pytest.mark.parametrize(
    "write", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:4]} {code[5:]} "]
)
def test_a_code_may_be_typed_as_people_do(desk: Desk, write: object) -> None:
    desk.asks()
    assert callable(write)
    assert desk.types(write(str(desk.told["user_code"]))).status_code == 303


@pytest.mark.parametrize(
    "typed", ["", "AAAA-AAAA", "BCDF-GHJ", "BCDF-GHJKL", "\x00", "ＢＣＤＦ-ＧＨＪＫ", "x" * 4000, "' OR 1=1"]
)
def test_what_is_no_code_is_refused(desk: Desk, typed: str) -> None:
    desk.asks()
    refused(desk.world.browser.get("/device", params={"user_code": typed}), 404, "user-code-unknown")


def test_guessing_is_limited_and_a_hundred_thousand_guesses_find_nothing(desk: Desk) -> None:
    desk.asks()
    for _ in range(guesses.MOST_FROM_ONE):
        refused(desk.types("BBBB-BBBB"), 404, "user-code-unknown")
    refused(desk.types("BBBB-BBBB"), 503, "too-many-codes")
    refused(desk.types(), 503, "too-many-codes")
    desk.passes(60)
    assert desk.types().status_code == 303

    limit, taken, now = Guesses(), 0, START
    for number in range(100_000):  # over ten minutes, as long as a code lives, from as many addresses
        at, address = now + timedelta(seconds=number * 0.006), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        try:
            limit.check(address, now=at)
        except Unavailable:
            continue
        limit.wrong(address, now=at)
        taken += 1
    assert taken <= 11 * guesses.MOST
    assert taken / 20**device_grant.LETTERS * enrolment.MOST_PENDING < 1 / 500
    assert len(limit._from) <= guesses.MOST


def test_one_ipv6_host_cannot_guess_from_all_of_its_addresses() -> None:
    limit = Guesses()
    for number in range(guesses.MOST_FROM_ONE):
        limit.wrong(f"2001:db8::{number:x}", now=START)
    with pytest.raises(Unavailable):
        limit.check("2001:db8::ffff", now=START)
    limit.check("2001:db8:0:1::1", now=START)
    limit.check("2001:db8::1", now=START + guesses.WINDOW)
    limit.check("testclient", now=START)


def test_every_letter_of_a_code_is_equally_likely() -> None:
    seen: Counter[str] = Counter()
    entropy = random.Random(7).randbytes
    for _ in range(5_000):
        row = tables.Enrolment(id="x", device="d", jwk={}, name="n", platform="p", agent_version="1", redirect_uri="", expires_at=START)  # fmt: skip
        shown = device_grant.open_(row, origin="192.0.2.1", entropy=entropy)
        assert shown.replace("-", "") == row.user_code
        seen.update(str(row.user_code))
    assert set(seen) == set(device_grant.ALPHABET)
    assert max(seen.values()) < 1.15 * min(seen.values())


def test_a_logout_at_the_provider_forgets_a_login_that_waits_for_its_device(desk: Desk) -> None:
    desk.asks()
    desk.answers(desk.logs_in(), "allow")
    token = desk.provider.logout(sub="sub-alice").sign()
    assert desk.world.browser.post("/backchannel-logout", data={"logout_token": token}).status_code == 200
    refused(desk.polls(), 404, "enrolment-unknown")


def test_a_device_stays_its_users(desk: Desk) -> None:
    desk.asks()
    desk.answers(desk.logs_in(), "allow")
    assert desk.polls().status_code == 200
    desk.asks()
    refused(desk.logs_in("bob"), 409, "device-of-another-user")


@pytest.mark.parametrize(
    "body", [b"", b"answer=allow", b"answer=allow&" + b"&".join([b"a=1"] * 9), b"\xff", b"answer=%ff"]
)
def test_a_consent_that_is_no_form_is_refused(desk: Desk, body: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert desk.world.browser.post("/device/consent", content=body, headers=headers).status_code in (400, 404)
