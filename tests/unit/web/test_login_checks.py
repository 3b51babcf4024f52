"""Logins are checked at the provider as often as the policy says: who is disabled there is cut off here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlmodel import select

from gateway.access import login_checks as checks
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web import login_checks
from tests.sim.gateway import FULL, LIMITED, POLICY, Device, World
from tests.sim.provider import ISSUER, TOKEN, USERINFO, Provider

CHECKED = POLICY.replace("reauthenticate: 12h}", "reauthenticate: 12h, check_login: 5m}")


class Checked:
    """A gateway with checks, its provider, and alice, who is connected."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, policy=CHECKED)
        self.provider = Provider()
        self.provider.metadata["scopes_supported"] = ["openid", "groups", "offline_access"]
        self.world.use_provider(self.provider)
        self.world.tick()
        self.device = self.connected("laptop", "alice")

    def connected(self, name: str, user: str) -> Device:
        device = Device(self.world, name)
        assert device.log_in_at(self.provider, user).status_code == 200
        return device.connect()

    def passes(self, minutes: float) -> None:
        for _ in range(int(minutes * 2)):
            self.world.passes(30)
            self.provider.now += timedelta(seconds=30)
            self.device.report()

    def check(self) -> int:
        return login_checks.step(self.world.deployment, now=self.world.clock.time)

    def login(self) -> tables.Login:
        with reading(self.world.engine) as db:
            return db.exec(select(tables.Login)).all()[-1]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Checked]:
    at = Checked(tmp_path)
    yield at
    at.world.close()


def test_a_user_who_is_disabled_at_the_provider_is_cut_off_at_the_next_check(at: Checked) -> None:
    at.provider.disabled.add("alice")
    at.passes(4.5)
    assert (at.check(), at.device.reach) == (0, FULL)
    at.passes(0.5)
    assert (at.check(), at.device.reach) == (1, None)
    assert at.device.report().json()["code"] == "session-ended"
    assert at.device.begin().status_code == 401
    with reading(at.world.engine) as db:
        ended = db.exec(select(tables.Session)).one()
    assert ended.end_reason == "login-refused"


def test_who_is_in_good_standing_notices_nothing_and_the_token_is_rotated(at: Checked) -> None:
    before = at.login().refresh_token
    for _ in range(3):
        at.passes(5)
        assert at.check() == 1
    assert at.device.reach == FULL
    assert at.login().refresh_token not in (None, before)


def test_no_refresh_token_lies_in_the_database_as_it_is(at: Checked) -> None:
    sealed = at.login().refresh_token
    assert sealed is not None
    assert "refresh-" not in sealed
    assert at.world.deployment.unseal(sealed).startswith("refresh-")


@pytest.mark.parametrize("where", ["ID token", "userinfo"])
def test_groups_that_have_changed_change_the_session(at: Checked, where: str) -> None:
    at.provider.groups["alice"] = ["staff"]
    if where == "userinfo":
        at.provider.renews_id_token = False
        at.provider.userinfo = {"groups": ["staff"]}
        at.provider.metadata["userinfo_endpoint"] = f"{ISSUER}{USERINFO}"
        at.world.use_provider(at.provider)
    at.passes(5)
    assert (at.check(), at.device.reach) == (1, LIMITED)
    assert "login.claims-changed" in at.world.audit()


def test_an_answer_without_an_id_token_and_without_userinfo_keeps_the_groups(at: Checked) -> None:
    at.provider.renews_id_token = False
    at.passes(5)
    assert (at.check(), at.device.reach) == (1, FULL)


@pytest.mark.parametrize("status", [500, 503, 429, 302])
def test_a_provider_that_is_away_cuts_nobody_off_and_is_asked_again(at: Checked, status: int) -> None:
    at.provider.answers[TOKEN] = lambda _: httpx2.Response(status)
    at.passes(5)
    assert (at.check(), at.device.reach) == (1, FULL)
    assert at.check() == 0, "not at once"
    at.passes(1)
    assert at.check() == 1
    del at.provider.answers[TOKEN]
    at.provider.disabled.add("alice")
    at.passes(1)
    assert (at.check(), at.device.reach) == (1, None)


def test_two_gateways_do_not_use_one_refresh_token_twice(at: Checked) -> None:
    at.passes(5)
    now = at.world.clock.time
    with writing(at.world.engine) as db:
        mine = checks.claim(db, now=now)
    with writing(at.world.engine) as db:
        theirs = checks.claim(db, now=now)
    assert (len(mine), len(theirs)) == (1, 0)


def test_a_token_that_cannot_be_unsealed_is_a_login_that_nobody_stands_by(at: Checked) -> None:
    with writing(at.world.engine) as db:
        for login in db.exec(select(tables.Login)).all():
            login.refresh_token = "of another gateway"
    at.passes(5)
    assert (at.check(), at.device.reach) == (1, None)


def test_a_login_that_is_over_is_not_asked_about(at: Checked) -> None:
    assert at.device.leave().status_code == 204
    with writing(at.world.engine) as db:
        for login in db.exec(select(tables.Login)).all():
            login.voided_at = at.world.clock.time
    at.passes(10)
    assert at.check() == 0
