"""Each security event has its effect on live sessions before it is acknowledged, once, and on nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from gateway.access.security_events import RETENTION
from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.gateway import FULL, ISSUER, LIMITED, POLICY, QUARANTINE, Device, World
from tests.sim.provider import Signer, jws
from tests.sim.receiving import Receiving
from tests.sim.transmitter import CAEP, SSF, VERIFY

RULES = "signals: {credential_change: quarantine, lower_assurance: limited, medium_risk: limited}\n"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Receiving]:
    """A gateway whose policy says where signals lead."""
    world = World(tmp_path, policy=POLICY + RULES)
    world.tick()
    at = Receiving(world)
    at.work()
    yield at
    world.close()


def user(name: str = "alice") -> dict[str, Any]:
    return {"format": "iss_sub", "iss": ISSUER, "sub": f"sub-{name}"}


def device(of: Device, name: str = "alice") -> dict[str, Any]:
    return {"format": "complex", "user": user(name), "device": {"format": "opaque", "id": of.id}}


def again(device: Device) -> Device:
    """The user logs in again on it, and it connects again."""
    device.enrol(device.world.log_in())
    device.new_tunnel_key()
    return device.connect()


# ends


@pytest.mark.parametrize("name", [f"{CAEP}session-revoked", f"{RISC}account-disabled", f"{RISC}account-purged"])
def test_a_user_who_is_gone_is_cut_off_everywhere_and_nobody_else(at: Receiving, name: str) -> None:
    laptop, tablet, other = at.connected(), at.connected("tablet"), at.connected("pc", user="bob")
    at.accepts(at.transmitter.event(name, user()).sign())
    assert (laptop.reach, tablet.reach, other.reach) == (None, None, FULL)
    assert laptop.report().json()["code"] == "session-ended"
    assert laptop.begin().status_code == 401
    assert "security-event.accepted" in at.world.audit()


def test_a_revoked_session_is_that_session_alone(at: Receiving) -> None:
    laptop, tablet = at.connected(sid="one"), at.connected("tablet", sid="two")
    at.happens("session-revoked", {"format": "complex", "session": {"format": "opaque", "id": "one"}})
    assert (laptop.reach, tablet.reach) == (None, FULL)
    at.happens("session-revoked", {"format": "opaque", "id": "two"})
    assert tablet.reach is None


def test_a_revoked_device_is_that_device_alone(at: Receiving) -> None:
    laptop, tablet = at.connected(), at.connected("tablet")
    at.happens("session-revoked", device(laptop))
    assert (laptop.reach, tablet.reach) == (None, FULL)


def test_a_user_may_be_named_as_people_do(at: Receiving) -> None:
    laptop, other = at.connected(user="alice@example"), at.connected("pc", user="bob@example")
    at.happens("session-revoked", {"format": "email", "email": "alice@example"})
    assert (laptop.reach, other.reach) == (None, FULL)
    at.happens("session-revoked", {"format": "account", "uri": "acct:bob@example"})
    assert other.reach is None


def test_what_began_after_the_event_goes_on(at: Receiving) -> None:
    """A transmitter may deliver late; the login since then is another one."""
    before = int(at.world.clock.time.timestamp())
    at.passes(5)
    laptop = at.connected()
    at.happens("session-revoked", user(), event_timestamp=before)
    assert laptop.reach == FULL
    at.happens("session-revoked", user())
    assert laptop.reach is None


# groups


def test_groups_that_change_at_the_provider_change_a_live_session(at: Receiving) -> None:
    laptop = at.connected()
    at.happens("token-claims-change", user(), claims={"groups": ["staff"]})
    assert laptop.reach == LIMITED
    assert laptop.report().status_code == 200
    assert laptop.reach == LIMITED
    at.happens("token-claims-change", user(), claims={"groups": ["staff", "finance"]})
    assert laptop.reach == FULL


def test_an_event_about_a_partners_user_gives_no_group_of_ours(at: Receiving) -> None:
    at.world.issuer = "https://partners.example"
    theirs = at.world.device("theirs", groups=("partner:staff",)).connect()
    assert theirs.reach == LIMITED
    about = {"format": "iss_sub", "iss": at.world.issuer, "sub": "sub-alice"}
    at.happens("token-claims-change", about, claims={"groups": ["finance"]})
    assert theirs.reach == LIMITED
    with reading(at.world.engine) as db:
        login = db.exec(select(tables.Login).where(tables.Login.issuer == at.world.issuer)).one()
    assert login.groups == ["partner:finance"]


def test_claims_that_say_nothing_of_groups_change_nothing(at: Receiving) -> None:
    laptop = at.connected()
    at.happens("token-claims-change", user(), claims={"email": "alice@example"})
    assert laptop.reach == FULL


def test_groups_that_are_none_are_refused_and_change_nothing(at: Receiving) -> None:
    laptop = at.connected()
    answer = at.push(at.transmitter.event(f"{CAEP}token-claims-change", user(), claims={"groups": 7}).sign())
    assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")
    assert laptop.reach == FULL


# signals


@pytest.mark.parametrize(
    ("name", "bad", "reach", "good"),
    [
        ("device-compliance-change", {"current_status": "not-compliant"}, QUARANTINE, {"current_status": "compliant"}),
        ("risk-level-change", {"current_level": "HIGH"}, QUARANTINE, {"current_level": "LOW"}),
        ("risk-level-change", {"current_level": "MEDIUM"}, LIMITED, {"current_level": "LOW"}),
        ("assurance-level-change", {"change_direction": "decrease"}, LIMITED, {"change_direction": "increase"}),
    ],
)
def test_a_signal_lowers_a_live_session_until_it_is_taken_back(
    at: Receiving, name: str, bad: dict[str, Any], reach: set[str], good: dict[str, Any]
) -> None:
    laptop, other = at.connected(), at.connected("pc", user="bob")
    at.happens(name, user(), **bad)
    assert (laptop.reach, other.reach) == (reach, FULL)
    assert laptop.report().status_code == 200
    assert laptop.reach == reach, "a good report does not take it back"
    at.passes(1)
    at.happens(name, user(), **good)
    assert laptop.reach == FULL


def test_a_signal_outlives_the_session(at: Receiving) -> None:
    laptop = at.connected()
    at.happens("device-compliance-change", device(laptop), current_status="not-compliant")
    assert laptop.leave().status_code == 204
    laptop.new_tunnel_key()
    laptop.connect()
    assert laptop.reach == QUARANTINE
    assert at.connected("tablet").reach == FULL


def test_a_signal_about_somebody_who_is_away_is_there_when_they_come(at: Receiving) -> None:
    at.happens("risk-level-change", user(), current_level="HIGH")
    assert at.world.device().connect().reach == QUARANTINE


@pytest.mark.parametrize(
    ("name", "members", "reach"),
    [
        ("credential-change", {"change_type": "revoke"}, QUARANTINE),
        ("credential-change", {"change_type": "update"}, QUARANTINE),
        ("credential-change", {"change_type": "delete"}, QUARANTINE),
        ("credential-change", {"change_type": "create"}, FULL),
        ("assurance-level-change", {"change_direction": "decrease"}, LIMITED),
    ],
)
def test_what_a_younger_login_takes_back(at: Receiving, name: str, members: dict[str, Any], reach: set[str]) -> None:
    laptop = at.connected()
    at.happens(name, user(), **members)
    assert laptop.reach == reach
    at.passes(1)
    assert again(laptop).reach == FULL


def test_an_older_word_does_not_take_back_a_younger_one(at: Receiving) -> None:
    laptop = at.connected()
    earlier = int(at.world.clock.time.timestamp())
    at.passes(5)
    at.happens("device-compliance-change", user(), current_status="not-compliant")
    at.happens("device-compliance-change", user(), current_status="compliant", event_timestamp=earlier)
    assert laptop.reach == QUARANTINE


def test_a_word_about_a_user_is_one_about_all_devices(at: Receiving) -> None:
    laptop, tablet = at.connected(), at.connected("tablet")
    at.happens("device-compliance-change", device(laptop), current_status="not-compliant")
    assert (laptop.reach, tablet.reach) == (QUARANTINE, FULL)
    at.passes(1)
    at.happens("device-compliance-change", user(), current_status="compliant")
    assert (laptop.reach, tablet.reach) == (FULL, FULL)


# once, and only what holds


def test_an_event_is_taken_once_and_acknowledged_as_often_as_it_comes(at: Receiving) -> None:
    laptop = at.connected()
    token = at.transmitter.event(f"{CAEP}session-revoked", user()).sign()
    at.accepts(token)
    at.passes(1)
    again(laptop)
    at.accepts(token)
    assert laptop.reach == FULL
    assert at.world.audit().count("security-event.accepted") == 1


def test_a_replay_after_a_restart_and_after_a_day_does_nothing(at: Receiving) -> None:
    laptop = at.connected()
    token = at.transmitter.event(f"{CAEP}risk-level-change", user(), current_level="HIGH").sign()
    at.accepts(token)
    at.passes(1)
    at.happens("risk-level-change", user(), current_level="LOW")
    at = Receiving(at.world)
    at.transmitter.stream = {"stream_id": "kept"}
    at.accepts(token)
    assert laptop.reach == FULL
    at.world.clock.time += RETENTION
    assert at.push(token).status_code == 400


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer of another stream", "Basic eDp5"])
def test_a_push_that_does_not_show_what_it_should_is_refused(at: Receiving, authorization: str | None) -> None:
    laptop = at.connected()
    answer = at.push(at.transmitter.event(f"{CAEP}session-revoked", user()).sign(), authorization)
    assert (answer.status_code, answer.json()["err"]) == (401, "authentication_failed")
    assert laptop.reach == FULL


def test_every_kind_of_forgery_is_refused_with_its_error_and_recorded(at: Receiving) -> None:
    laptop = at.connected()
    draft = at.transmitter.event(f"{CAEP}session-revoked", user())
    now = int(at.world.clock.time.timestamp())
    two = {f"{CAEP}session-revoked": {}, f"{CAEP}credential-change": {"change_type": "revoke"}}
    forged = {
        draft.with_claims(iss="https://evil.example"): "invalid_issuer",
        draft.with_claims(aud="somebody else"): "invalid_audience",
        jws(draft.header, draft.claims, Signer("other").sign): "invalid_key",
        draft.with_header(kid="unknown"): "invalid_key",
        draft.with_header(typ="JWT"): "invalid_request",
        draft.with_header(typ="logout+jwt"): "invalid_request",
        draft.with_claims(exp=now + 60): "invalid_request",
        draft.with_claims(iat=now - 90_000): "invalid_request",
        draft.with_claims(nonce="n"): "invalid_request",
        draft.with_claims(events={}): "invalid_request",
        draft.with_claims(events=two): "invalid_request",
        draft.without("jti"): "invalid_request",
        draft.without("sub_id"): "invalid_request",
        draft.with_claims(sub_id={"format": "complex", "user": user(), "robot": {}}): "invalid_request",
        draft.with_claims(sub_id={"format": "phone_number", "phone_number": "+1"}): "invalid_request",
        draft.with_claims(sub_id={"format": "iss_sub", "iss": ISSUER}): "invalid_request",
        draft.with_claims(events={f"{CAEP}risk-level-change": {"current_level": "EXTREME"}}): "invalid_request",
        draft.with_claims(events={f"{CAEP}session-revoked": {"event_timestamp": "now"}}): "invalid_request",
        "not a token": "invalid_request",
        "": "invalid_request",
    }
    answers = {token: at.push(token) for token in forged}
    assert {token: (answer.status_code, answer.json()["err"]) for token, answer in answers.items()} == {
        token: (400, error) for token, error in forged.items()
    }
    assert laptop.reach == FULL
    assert at.world.audit().count("security-event.refused") == len(forged)


def test_the_log_says_what_came_about_whom_and_what_it_did(at: Receiving) -> None:
    laptop = at.connected()
    at.happens("session-revoked", user(), reason_admin={"en": "policy"}, initiating_entity="admin")
    with reading(at.world.engine) as db:
        row = db.exec(select(tables.Audit).order_by(tables.Audit.sequence.desc())).first()  # type: ignore[union-attr]
    assert row is not None
    assert row.details == {
        "kind": "session-revoked",
        "about": {"issuer": ISSUER, "subject": "sub-alice"},
        "users": ["alice"],
        "sessions": [laptop.session],
        "said": {"initiating_entity": "admin"},
    }


def test_a_stream_that_cannot_be_verified_is_a_problem_that_is_told(at: Receiving) -> None:
    at.transmitter.metadata["verification_endpoint"] = None
    at.transmitter.answers[VERIFY] = lambda _: pytest.fail("not asked")
    fresh = Receiving(at.world)
    fresh.transmitter.metadata["verification_endpoint"] = None
    with pytest.raises(Exception, match="verification_endpoint"):
        fresh.receiver.ask_verification(now=at.world.clock.time)


def test_a_poll_takes_all_and_says_which_it_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tick()
    at = Receiving(world, delivery="poll")
    at.work()
    laptop = at.connected()
    good, bad = at.transmitter.event(f"{CAEP}session-revoked", user()), at.transmitter.event(f"{SSF}verification")
    at.transmitter.waiting = {
        good.claims["jti"]: good.sign(),
        bad.claims["jti"]: bad.with_claims(aud="somebody else"),
        **{f"later-{n}": at.transmitter.event(f"{CAEP}of-the-future", user()).sign() for n in range(150)},
    }
    for _ in range(4):
        at.work()
    assert laptop.reach is None
    assert at.transmitter.waiting == {}
    assert at.transmitter.errors[bad.claims["jti"]]["err"] == "invalid_audience"
    assert good.claims["jti"] in at.transmitter.acknowledged
    world.close()
