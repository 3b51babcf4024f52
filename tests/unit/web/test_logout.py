"""A logout at the provider ends what began by that login, and nothing else, before it is answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlmodel import select

from gateway.access import logout
from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.gateway import FULL, LIMITED, Device, World
from tests.sim.provider import DISCOVERY, KEYS, Draft, Provider, jws


@pytest.fixture
def provider(world: World) -> Provider:
    """The provider that the gateway asks. Its clock is the world's only where a test turns it."""
    provider = Provider()
    world.use_provider(provider)
    return provider


def connected(world: World, provider: Provider, user: str = "alice", name: str = "laptop") -> Device:
    device = Device(world, name)
    assert device.log_in_at(provider, user).status_code == 200
    return device.connect()


def send(world: World, token: object) -> httpx2.Response:
    return world.browser.post("/backchannel-logout", data={"logout_token": token})


def log_out(world: World, provider: Provider, **claims: Any) -> httpx2.Response:
    return send(world, provider.logout(**claims).sign())


def done(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store"), answer.text


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def passes(world: World, provider: Provider, seconds: float) -> None:
    world.passes(seconds)
    provider.now += timedelta(seconds=seconds)


def test_a_logout_by_sid_ends_the_session_before_the_answer(world: World, provider: Provider) -> None:
    """rp-backchannel-rpinitlogout"""
    device = connected(world, provider)
    assert device.reach == FULL
    done(log_out(world, provider, sid=provider.sids["alice"]))
    assert device.reach is None
    assert world.audit()[-2:] == ["login.voided", "session.ended"]
    refused(device.report(), 409, "session-ended")
    refused(device.begin(), 401, "login-required")


def test_the_audit_log_says_who_was_logged_out_by_whom_and_why(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    log_out(world, provider, sid=provider.sids["alice"])
    with reading(world.engine) as db:
        voided, ended = db.exec(select(tables.Audit).order_by(tables.Audit.sequence)).all()[-2:]  # type: ignore[arg-type]
    assert (voided.actor, voided.device) == (provider.issuer, device.id)
    assert voided.details == {"user": "alice", "reason": "back-channel logout", "whole_user": False}
    assert (ended.actor, ended.session, ended.details["reason"]) == (provider.issuer, device.session, "logged-out")


def test_a_logout_by_sid_leaves_the_users_other_sessions_alone(world: World, provider: Provider) -> None:
    laptop = connected(world, provider)
    of_the_laptop = provider.sids["alice"]
    tablet = connected(world, provider, name="tablet")
    done(log_out(world, provider, sid=of_the_laptop))
    assert (laptop.reach, tablet.reach) == (None, FULL)


def test_a_logout_by_sub_ends_every_session_of_the_user_and_of_nobody_else(world: World, provider: Provider) -> None:
    laptop, tablet = connected(world, provider), connected(world, provider, name="tablet")
    bobs = connected(world, provider, "bob", "bobs")
    done(log_out(world, provider, sub="sub-alice"))
    assert (laptop.reach, tablet.reach, bobs.reach) == (None, None, LIMITED)


def test_sid_and_sub_together_end_that_session_alone(world: World, provider: Provider) -> None:
    laptop = connected(world, provider)
    of_the_laptop = provider.sids["alice"]
    tablet = connected(world, provider, name="tablet")
    done(log_out(world, provider, sid=of_the_laptop, sub="sub-alice"))
    assert (laptop.reach, tablet.reach) == (None, FULL)


def test_a_sid_of_another_user_than_the_sub_is_refused_and_ends_nothing(world: World, provider: Provider) -> None:
    alices, bobs = connected(world, provider), connected(world, provider, "bob", "bobs")
    before = world.audit()
    refused(log_out(world, provider, sid=provider.sids["alice"], sub="sub-bob"), 400, "logout-token-session")
    assert (alices.reach, bobs.reach) == (FULL, LIMITED)
    assert world.audit() == before


@pytest.mark.parametrize("claims", [{"sid": "sid-unknown"}, {"sub": "sub-nobody"}, {"sid": "x", "sub": "sub-alice"}])
def test_a_logout_of_a_session_that_is_not_here_is_done_already(
    world: World, provider: Provider, claims: dict[str, str]
) -> None:
    device = connected(world, provider)
    done(log_out(world, provider, **claims))
    assert device.reach == FULL


def test_a_logout_token_works_once(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    token = provider.logout(sub="sub-alice").sign()
    done(send(world, token))
    refused(send(world, token), 400, "logout-token-replayed")

    passes(world, provider, 1)
    assert device.log_in_at(provider).status_code == 200
    device.new_tunnel_key()
    device.connect()
    refused(send(world, token), 400, "logout-token-replayed")
    assert device.reach == FULL


def test_a_jti_is_remembered_over_a_restart_and_in_another_token(world: World, provider: Provider) -> None:
    done(log_out(world, provider, sub="sub-alice", jti="the one"))
    world.restart()
    passes(world, provider, 1)
    device = connected(world, provider)
    refused(log_out(world, provider, sid=provider.sids["alice"], jti="the one"), 400, "logout-token-replayed")
    assert device.reach == FULL


def test_a_session_that_began_after_the_logout_stays(world: World, provider: Provider) -> None:
    late = provider.logout(sub="sub-alice").sign()
    passes(world, provider, 1)
    device = connected(world, provider)
    done(send(world, late))
    assert device.reach == FULL
    assert device.begin().status_code == 201


def test_a_session_of_the_same_second_as_the_logout_is_over(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    done(log_out(world, provider, sub="sub-alice"))
    assert device.reach is None


def test_after_a_logout_the_user_logs_in_again(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    done(log_out(world, provider, sub="sub-alice"))
    passes(world, provider, 1)
    assert device.log_in_at(provider).status_code == 200
    device.new_tunnel_key()
    assert device.connect().reach == FULL


def test_a_login_on_its_way_back_from_the_provider_does_not_outlive_its_logout(
    world: World, provider: Provider
) -> None:
    """The ID token was made before the logout, and the browser brings its code after it."""
    device = Device(world)
    name = device.ask_enrolment().json()["enrolment"]
    query = device.leave_for(provider, name)
    done(log_out(world, provider, sid=provider.sids["alice"]))
    refused(device.come_back(query), 401, "login-ended")
    assert world.audit()[-1] == "login.refused"
    assert device.log_in_at(provider).status_code == 200, "a new session at the provider is a new one here"


def test_a_login_that_waits_for_its_device_is_forgotten(world: World, provider: Provider) -> None:
    device = Device(world)
    name = device.ask_enrolment().json()["enrolment"]
    code = device.come_back(device.leave_for(provider, name)).headers["location"].partition("code=")[2]
    done(log_out(world, provider, sid=provider.sids["alice"]))
    refused(device.confirm(name, code), 404, "enrolment-unknown")
    assert world.audit()[-1] == "login.voided"


def test_an_enrolment_of_somebody_else_goes_on(world: World, provider: Provider) -> None:
    device = Device(world)
    name = device.ask_enrolment().json()["enrolment"]
    code = device.come_back(device.leave_for(provider, name)).headers["location"].partition("code=")[2]
    done(log_out(world, provider, sub="sub-bob"))
    assert device.confirm(name, code).status_code == 200


@pytest.mark.parametrize("by", ["sid", "sub"])
def test_an_administrators_browser_is_logged_out_too(world: World, provider: Provider, by: str) -> None:
    sent = world.browser.get("/login/admin")
    world.browser.get("/callback", params=provider.authorize(sent.headers["location"], "carol"))
    assert world.browser.get("/v1/admin/me").status_code == 200
    done(log_out(world, provider, **{"sid": provider.sids["carol"]} if by == "sid" else {"sub": "sub-carol"}))
    refused(world.browser.get("/v1/admin/me"), 401, "administrator-login-required")
    assert world.audit()[-1] == "login.voided"


def test_an_administrator_on_the_way_back_from_the_provider_does_not_outlive_the_logout(
    world: World, provider: Provider
) -> None:
    query = provider.authorize(world.browser.get("/login/admin").headers["location"], "carol")
    done(log_out(world, provider, sub="sub-carol"))
    refused(world.browser.get("/callback", params=query), 401, "login-ended")
    refused(world.browser.get("/v1/admin/me"), 401, "administrator-login-required")
    assert world.audit()[-1] == "administrator.refused"


def test_a_login_of_before_the_schema_knew_sessions_ends_by_its_sub(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE logins SET sid = NULL, issued_at = NULL")
    done(log_out(world, provider, sid=provider.sids["alice"]))
    assert device.reach == FULL, "nothing says that it is this session"
    done(log_out(world, provider, sub="sub-alice"))
    assert device.reach is None


def test_logouts_are_forgotten_when_their_token_is_too_old_anyway(world: World, provider: Provider) -> None:
    token = provider.logout(sub="sub-alice")
    token.claims["exp"] += 3600
    done(send(world, token.sign()))
    passes(world, provider, 661)
    refused(send(world, token.sign()), 400, "logout-token-time")
    done(log_out(world, provider, sub="sub-bob"))
    with reading(world.engine) as db:
        assert [row.subject for row in db.exec(select(tables.Logout)).all()] == ["sub-bob"]


def test_when_the_memory_is_full_new_logouts_are_refused_and_none_is_forgotten(
    world: World, provider: Provider
) -> None:
    device = connected(world, provider)
    first = provider.logout(sub="sub-bob").sign()
    done(send(world, first))
    with world.engine.begin() as connection:
        rows = [
            ("x", str(n), "2026-11-24 12:00:00.000000", "2099-01-01 00:00:00.000000")
            for n in range(logout.MOST_LOGOUTS)
        ]
        connection.exec_driver_sql("INSERT INTO logouts (issuer, jti, issued_at, expires_at) VALUES (?, ?, ?, ?)", rows)
    refused(log_out(world, provider, sub="sub-alice"), 503, "busy")
    refused(send(world, first), 400, "logout-token-replayed")
    assert device.reach == FULL


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_a_token_that_cannot_be_verified_now_changes_nothing_and_may_be_sent_again(
    world: World, provider: Provider, path: str
) -> None:
    device = connected(world, provider)
    token = provider.logout(sub="sub-alice").sign()
    world.use_provider(provider)
    provider.answers[path] = lambda _: httpx2.Response(500)
    refused(send(world, token), 502, "provider-unavailable")
    assert device.reach == FULL
    del provider.answers[path]
    world.use_provider(provider)
    done(send(world, token))
    assert device.reach is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"logout_token",
        b"logout_token=a&logout_token=b",
        b"Logout_Token=a",
        b"logout_token=%ff",
        "logout_token=é".encode(),
        b"&".join(b"x=1" for _ in range(17)),
    ],
)
def test_a_body_that_is_no_form_with_one_token_is_refused(world: World, provider: Provider, content: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = world.browser.post("/backchannel-logout", content=content, headers=headers)
    refused(answer, 400, "logout-token-missing" if content == b"logout_token" else "form")


def test_a_token_in_the_query_or_as_json_is_not_read(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    token = provider.logout(sub="sub-alice").sign()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    refused(world.browser.post(f"/backchannel-logout?logout_token={token}", headers=headers), 400, "form")
    refused(world.browser.post("/backchannel-logout", json={"logout_token": token}), 415, "media-type")
    refused(world.browser.get(f"/backchannel-logout?logout_token={token}"), 405, "method-not-allowed")
    assert device.reach == FULL


HONEST = {
    "typ JWT": lambda draft: draft.with_header(typ="JWT"),
    "typ in capitals": lambda draft: draft.with_header(typ="LOGOUT+JWT"),
    "no typ": lambda draft: jws({"alg": "RS256", "kid": "one"}, draft.claims, draft.signer.sign),
    "no exp": lambda draft: draft.without("exp"),
    "an audience as a list": lambda draft: draft.with_claims(aud=["sallyport"]),
    "something in the event": lambda draft: draft.with_claims(
        events={name: {"x": 1} for name in draft.claims["events"]}
    ),
    "a time with a fraction": lambda draft: draft.with_claims(iat=draft.claims["iat"] + 0.5),
    "unknown claims": lambda draft: draft.with_claims(trace_id="t", toe=1),
}


@pytest.mark.parametrize("form", HONEST)
def test_an_honest_logout_token_may_have(world: World, provider: Provider, form: str) -> None:
    device = connected(world, provider)
    draft: Draft = provider.logout(sub="sub-alice")
    done(send(world, HONEST[form](draft)))
    assert device.reach is None


def test_a_tunnel_that_is_away_follows_when_it_is_back(world: World, provider: Provider) -> None:
    device = connected(world, provider)
    world.tunnel.stop()
    done(log_out(world, provider, sub="sub-alice"))
    world.tunnel.start()
    world.passes(1)
    assert device.reach is None
