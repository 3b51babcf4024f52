"""Agent tokens: bound to the key, short, rotated; one that comes again ends its family; a thief without the key ends nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select

from agent import wire
from gateway.access import devices, enrolment
from gateway.store import tables
from gateway.store.engine import reading, writing
from tests.sim.gateway import Device, World
from tests.unit.access.managing import manager
from tests.unit.access.test_custody import redeem
from tests.unit.web.test_agent_api import refused


def test_tokens_are_given_for_the_device_key_and_open_what_is_the_devices(world: World) -> None:
    device = world.device().connect()
    answer = device.ask_tokens()
    assert (answer.status_code, answer.json()["token_type"], answer.json()["expires_in"]) == (200, "DPoP", 300)
    path = f"/v1/sessions/{device.session}"
    proof = device.proof("DELETE", path, token=device.access_token)
    headers = {"authorization": f"DPoP {device.access_token}", "dpop": proof}
    assert world.browser.delete(path, headers=headers).status_code == 204


def test_an_access_token_ends_after_five_minutes(world: World) -> None:
    device = world.device().connect()
    device.ask_tokens()
    path = f"/v1/sessions/{device.session}"
    world.clock.time = world.clock.time.replace(minute=world.clock.time.minute + 6)
    proof = device.proof("DELETE", path, token=device.access_token)
    answer = world.browser.delete(path, headers={"authorization": f"DPoP {device.access_token}", "dpop": proof})
    refused(answer, 401, "token-time")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_proof_without_the_servers_nonce_is_told_it(world: World) -> None:
    device = world.device()
    answer = device.ask_tokens(nonce="A" * 43)
    refused(answer, 401, "dpop-nonce")
    assert answer.json()["error"] == "use_dpop_nonce"
    assert device.ask_tokens(nonce=answer.headers["dpop-nonce"]).status_code == 200


def test_a_nonce_is_good_in_its_period_and_the_next_one(world: World) -> None:
    device = world.device()
    nonce = world.deployment.mint.nonces(now=world.clock.time)[0]
    assert device.ask_tokens(nonce=nonce).status_code == 200
    world.passes(299)
    assert device.ask_tokens(nonce=nonce).status_code == 200
    world.passes(302)
    refused(device.ask_tokens(nonce=nonce), 401, "dpop-nonce")


def test_a_proof_is_used_once_also_after_a_restart(world: World) -> None:
    device = world.device()
    form = {"grant_type": wire.GRANT_ASSERTION, "assertion": device.sign(wire.TYP_ASSERTION, {})}
    headers = {"dpop": device.proof("POST", "/v1/token")}
    assert world.browser.post("/v1/token", data=form, headers=headers).status_code == 200
    again = {**form, "assertion": device.sign(wire.TYP_ASSERTION, {})}
    refused(world.browser.post("/v1/token", data=again, headers=headers), 401, "proof-replayed")
    world.restart()
    refused(world.browser.post("/v1/token", data=again, headers=headers), 401, "proof-replayed")


def test_a_refresh_token_rotates_and_one_that_comes_again_ends_the_family(world: World) -> None:
    device = world.device()
    device.ask_tokens()
    first = device.refresh_token
    assert device.refresh().status_code == 200
    second = device.refresh_token
    assert device.refresh().status_code == 200
    refused(device.refresh(first), 401, "grant-reused")
    for token in (first, second, device.refresh_token):
        refused(device.refresh(token), 401, "grant-ended")
    assert world.audit().count("tokens.ended") == 1
    assert device.ask_tokens().status_code == 200, "the device key can always begin a new family"
    assert device.refresh().status_code == 200


def test_a_thief_without_the_key_gets_nothing_and_ends_nothing(world: World) -> None:
    device, thief = world.device(), world.device("thief", user="mallory")
    device.ask_tokens()
    stolen = device.refresh_token
    refused(thief.refresh(stolen), 401, "dpop-holder")
    assert device.refresh(stolen).status_code == 200


def test_a_new_grant_forgets_the_family_before(world: World) -> None:
    device = world.device()
    device.ask_tokens()
    old = device.refresh_token
    device.ask_tokens()
    refused(device.refresh(old), 401, "grant-ended")
    with reading(world.engine) as db:
        assert len(db.exec(select(tables.TokenFamily)).all()) == 1, "the table does not grow with grants"


def test_a_family_is_over_after_a_month(world: World) -> None:
    device = world.device()
    device.ask_tokens()
    for _ in range(30):
        world.passes(86400)
        assert device.refresh().status_code == 200
    world.passes(86400)
    assert device.refresh().status_code == 401


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "unsupported-grant"),
        ({"grant_type": "client_credentials"}, "unsupported-grant"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported-grant"),
        ({"grant_type": "refresh_token"}, "token-missing"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "token-malformed"),
        ({"grant_type": wire.GRANT_ASSERTION}, "signature-form"),
    ],
    ids=str,
)
def test_a_grant_that_is_none_is_refused(world: World, form: dict[str, str], code: str) -> None:
    answer = world.device().ask_tokens(form or {"x": "y"})
    assert answer.json()["code"] == code


def test_two_proofs_or_two_tokens_in_one_request_are_refused(world: World) -> None:
    device = world.device().connect()
    path = f"/v1/sessions/{device.session}"
    headers = list(device.authorization("DELETE", path).items())
    for doubled in headers:
        answer = world.browser.request("DELETE", path, headers=[*headers, doubled])
        assert answer.status_code == 401


# replay memories


def test_the_memory_of_proofs_is_bounded_and_refuses_when_it_is_full(world: World, monkeypatch: Any) -> None:
    device, other = world.device(), world.device("other", user="bob")
    used = device.sign(wire.TYP_SESSION, {"nonce": ""})
    assert device.post("/v1/sessions", used).status_code == 201
    with reading(world.engine) as db:
        known = len(db.exec(select(tables.SeenProof)).all())
    monkeypatch.setattr(devices, "MOST_PROOFS", known)
    refused(other.begin(), 503, "busy")
    refused(device.post("/v1/sessions", used), 401, "proof-replayed")
    world.passes(121)
    assert other.begin().status_code == 201, "what is too old anyway makes room"


def test_a_proof_is_remembered_by_its_jti_and_never_by_its_text(world: World) -> None:
    """ECDSA has a second signature for everything: another text, the same proof."""
    device = world.device()
    claims = {"nonce": "", "jti": "j" * 24}
    assert device.post("/v1/sessions", device.sign(wire.TYP_SESSION, claims)).status_code == 201
    refused(device.post("/v1/sessions", device.sign(wire.TYP_SESSION, claims)), 401, "proof-replayed")
    other = world.device("other", user="bob")
    assert other.post("/v1/sessions", other.sign(wire.TYP_SESSION, claims)).status_code == 201, (
        "a jti is each device's own"
    )


def test_a_proof_at_another_replica_is_the_same_proof(world: World) -> None:
    device = world.device()
    body = device.sign(wire.TYP_SESSION, {"nonce": ""})
    assert device.post("/v1/sessions", body).status_code == 201
    first, world.deployment = world.deployment, replace(world.deployment)
    world.browser = world.new_browser()
    refused(device.post("/v1/sessions", body), 401, "proof-replayed")
    assert first is not world.deployment


# canary secrets


def test_no_secret_is_kept_or_said_where_it_should_not_be(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Every secret that a gateway hands out or takes: none is in the database, the log, the audit or another answer."""
    page = manager(world, browser=True)
    cookie = page.headers["cookie"].partition("=")[2]
    admin = manager(world)
    api_token = admin.headers["authorization"].removeprefix("Bearer ")
    key = admin.post("/v1/admin/enrolment-keys", json={"name": "build"}).json()["secret"]
    made = admin.post("/v1/admin/api-tokens", json={"name": "ci", "role": "auditor"}).json()["secret"]
    machine = Device(world, "server")
    redeem(machine, key)
    device = world.device().connect()
    device.ask_tokens()
    device.refresh()
    refused(device.refresh("x.y.z"), 401, "token-malformed")
    name = device.ask_enrolment().json()["enrolment"]
    with writing(world.engine) as db:
        url = enrolment.bind(db, name, world.log_in(), now=world.clock.time, entropy=world.entropy)
    code = url.partition("code=")[2]
    private = world.end.private_key.hex()
    secrets = [cookie, api_token, key, made, device.access_token, device.refresh_token, code, private]
    answers = [admin.get(path).text for path in ("/v1/admin/devices", "/v1/admin/audit", "/v1/admin/api-tokens",
                                                  "/v1/admin/enrolment-keys", "/v1/admin/sessions", "/v1/admin/me")]  # fmt: skip
    answers += [page.get("/metrics").text, page.get("/openapi.json").text, page.get("/readyz").text]
    with world.engine.connect() as connection:
        kept = "\n".join(connection.connection.dbapi_connection.iterdump())  # type: ignore[union-attr]
    said = capsys.readouterr()
    assert "CREATE TABLE" in kept
    for place in (kept, said.out, said.err, *answers):
        for secret in secrets:
            assert len(secret) > 20
            assert secret not in place
