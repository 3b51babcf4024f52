"""Devices: approved, limited, revoked for good, quarantined with their double; keys that enrol one machine each."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from agent import wire
from gateway.access import administrators, enrolment, enrolment_keys
from gateway.access.devices import Admission
from gateway.errors import Refused
from gateway.identity.device import VerifiedDeviceClaims
from gateway.store import tables
from gateway.store.engine import reading, writing
from tests.sim.gateway import FULL, QUARANTINE, Device, World
from tests.unit.access.managing import manager
from tests.unit.web.test_agent_api import refused

# approval and limits


def admitting(world: World, *groups: str, most: int = 10) -> None:
    world.admission = Admission(frozenset(groups), most)
    world.restart()


def test_a_device_waits_for_approval_unless_its_user_is_in_a_group_that_needs_none(world: World) -> None:
    admitting(world, "finance")
    assert world.device("one", user="alice", groups=("finance",)).begin().status_code == 201
    waiting = world.device("two", user="bob", groups=("staff",))
    refused(waiting.begin(), 403, "device-pending")
    listed = manager(world).get("/v1/admin/devices").json()["devices"]
    assert {row["name"]: row["state"] for row in listed} == {"one": "approved", "two": "pending"}
    assert manager(world).post(f"/v1/admin/devices/{waiting.id}/approve").status_code == 200
    assert waiting.connect().reach
    assert world.audit().count("device.approved") == 1


def test_a_user_has_no_more_devices_than_the_limit_and_a_revoked_one_makes_room(world: World) -> None:
    admitting(world, "everyone", most=2)
    first = world.device("one")
    world.device("two")
    third = Device(world, "three")
    refused(third.enrol(world.log_in()), 403, "too-many-devices")
    assert first.enrol(world.log_in()).status_code == 200, "a known device logs in again"
    assert world.device("other", user="bob").begin().status_code == 201, "the limit is each user's own"
    assert manager(world).post(f"/v1/admin/devices/{first.id}/revoke", json={"reason": "sold"}).status_code == 200
    assert third.enrol(world.log_in()).status_code == 200


# revoking


def test_a_revoked_device_loses_its_session_and_its_key_never_comes_back(world: World) -> None:
    device = world.device().connect()
    assert device.ask_tokens().status_code == 200
    name, login = device.ask_enrolment().json()["enrolment"], world.log_in()
    with writing(world.engine) as db:
        url = enrolment.bind(db, name, login, now=world.clock.time, entropy=world.entropy)
    assert device.reach == FULL
    assert manager(world).post(f"/v1/admin/devices/{device.id}/revoke", json={"reason": "lost"}).status_code == 200
    assert device.reach is None
    for answer in (
        device.report(),
        device.begin(),
        device.ask_enrolment(),
        device.ask_credential(),
        device.ask_tokens(),
        device.refresh(),
        device.confirm(name, parse_qs(urlsplit(url).query)["code"][0]),
    ):
        refused(answer, 401, "device-revoked")
    world.restart()
    refused(device.ask_enrolment(), 401, "device-revoked")
    key = key_of(world)
    refused(redeem(device, key), 401, "device-revoked")
    refused(manager(world).post(f"/v1/admin/devices/{device.id}/approve"), 409, "device-revoked")
    assert world.audit().count("device.revoked") == 1


# quarantine


def test_both_copies_are_quarantined_until_an_administrator_decides(world: World) -> None:
    original = world.device().connect()
    copy = clone(original)
    assert [original.report().status_code for _ in range(2)] == [200, 200]
    refused(copy.begin(), 403, "device-copied")
    assert original.reach == QUARANTINE, "before the copy has its answer"
    refused(manager(world).post(f"/v1/admin/devices/{'A' * 43}/release", json={"reason": "x"}), 404, "device-unknown")
    for machine in (copy, original):
        machine.new_tunnel_key()
        assert machine.connect().reach == QUARANTINE
    world.restart()
    assert original.report().json()["tier"] == "quarantine", "a restart forgets nothing"
    assert (
        manager(world)
        .post(f"/v1/admin/devices/{original.id}/release", json={"reason": "the copy is wiped"})
        .status_code
        == 200
    )
    assert original.report().json()["tier"] == "full"
    assert original.report().json()["tier"] == "full"
    refused(copy.begin(), 403, "device-copied")
    assert world.audit().count("device.quarantined") == 2


def test_a_copy_that_only_reports_is_noticed_too(world: World) -> None:
    original = world.device().connect()
    copy = clone(original)
    original.report()
    original.report()
    refused(copy.report(), 403, "device-copied")
    assert original.reach == QUARANTINE


def test_a_report_of_another_device_harms_nobody(world: World) -> None:
    alice, mallory = world.device().connect(), world.device("other", user="mallory").connect()
    mallory.session = alice.session
    refused(mallory.report(), 404, "session-unknown")
    assert (alice.reach, "device.quarantined" in world.audit()) == (FULL, False)


def clone(device: Device) -> Device:
    """The same state on another machine."""
    copy = Device(device.world, device.name)
    for name in ("key", "device_key", "id", "session", "nonce", "sequence"):
        setattr(copy, name, getattr(device, name))
    copy.ticks = 500
    return copy


# enrolment keys


def key_of(world: World, **members: Any) -> str:
    answer = manager(world).post("/v1/admin/enrolment-keys", json={"name": "build", "groups": ["finance"], **members})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


def redeem(device: Device, secret: str) -> Any:
    said = {"name": device.name, "platform": "linux", "agent_version": "0.1.0", "enrolment_key": secret}
    return device.post("/v1/enrolments/redeem", device.sign(wire.TYP_REDEMPTION, said))


def test_an_enrolment_key_enrols_one_unattended_machine(world: World) -> None:
    secret = key_of(world)
    machine = Device(world, "server-1")
    answer = redeem(machine, secret)
    assert (answer.status_code, answer.json()["user"], answer.json()["groups"]) == (200, "build", ["finance"])
    assert machine.connect().reach == FULL
    refused(redeem(Device(world, "server-2"), secret), 401, "key-wrong")
    refused(redeem(machine, secret), 401, "key-wrong")
    listed = manager(world).get("/v1/admin/enrolment-keys").json()["enrolment_keys"]
    assert [(row["name"], row["used_by"]) for row in listed] == [("build", machine.id)]
    assert secret not in str(listed)


def test_a_machine_stays_as_long_as_its_key_said(world: World) -> None:
    machine = Device(world, "server-1")
    assert redeem(machine, key_of(world, login_days=2)).status_code == 200
    world.passes(86400 + 3600)
    assert machine.begin().status_code == 201, "longer than any person's login"
    world.passes(86400)
    refused(machine.begin(), 401, "login-required")


def test_a_key_that_is_over_or_withdrawn_enrols_nobody(world: World) -> None:
    secret = key_of(world, hours=1)
    world.passes(3600)
    refused(redeem(Device(world), secret), 401, "key-wrong")
    key = manager(world).post("/v1/admin/enrolment-keys", json={"name": "build"}).json()
    assert manager(world).delete(f"/v1/admin/enrolment-keys/{key['id']}").status_code == 204
    refused(redeem(Device(world), key["secret"]), 401, "key-wrong")


@pytest.mark.parametrize(
    "members",
    [
        {"name": ""},
        {"name": 7},
        {"groups": "x"},
        {"groups": [1]},
        {"hours": 0},
        {"hours": True},
        {"admin": True},
        {"login_days": 367},
    ],
    ids=str,
)
def test_a_key_is_made_with_what_is_allowed_and_nothing_else(world: World, members: dict[str, Any]) -> None:
    answer = manager(world).post("/v1/admin/enrolment-keys", json={"name": "build", **members})
    assert answer.status_code == 400, answer.text


def test_of_200_parallel_redemptions_exactly_one_wins(world: World) -> None:
    secret = key_of(world)
    won: list[str] = []
    lost: list[Refused] = []
    begin = threading.Barrier(20)

    def race(device: Device) -> None:
        claims = {"name": device.name, "platform": "linux", "agent_version": "0.1.0", "enrolment_key": secret}
        verified = VerifiedDeviceClaims(device.id, device.device_key, claims, world.clock.time)
        try:
            begin.wait(30)
            with writing(world.engine) as db:
                won.append(enrolment_keys.redeem(db, verified, now=world.clock.time, entropy=world.entropy).device)
        except Refused as refusal:
            lost.append(refusal)

    for round_ in range(10):
        threads = [threading.Thread(target=race, args=(Device(world, f"server-{round_}-{n}"),)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert (len(won), len(lost)) == (1, 199)
    assert {refusal.code for refusal in lost} == {"key-wrong"}
    with reading(world.engine) as db:
        assert [row.id for row in db.exec(select(tables.Device)).all()] == won


# managers


def test_a_managers_own_device_can_be_asked_for(world: World) -> None:
    world.management = replace(world.management, tier="limited")
    world.restart()
    browser = manager(world, browser=True)
    refused(browser.get("/v1/admin/sessions"), 403, "administrator-posture")
    device = world.device("carols", user="carol", groups=("sallyport-admins", "finance"))
    refused(browser.get("/v1/admin/sessions"), 403, "administrator-posture")
    device.connect()
    assert browser.get("/v1/admin/sessions").status_code == 200
    device.report({"firewall.enabled": False})
    refused(browser.get("/v1/admin/sessions"), 403, "administrator-posture")
    device.report()
    assert browser.get("/v1/admin/sessions").status_code == 200
    world.clock.time += timedelta(seconds=61)
    refused(browser.get("/v1/admin/sessions"), 403, "administrator-posture")


def test_a_new_login_makes_a_new_cookie_and_ends_the_old_one(world: World) -> None:
    login = replace(world.log_in("carol", ("sallyport-admins",)), purpose="admin")
    with writing(world.engine) as db:
        first = administrators.begin(db, login, world.management, now=world.clock.time, entropy=world.entropy)
    with writing(world.engine) as db:
        administrators.end(db, first)
        second = administrators.begin(db, login, world.management, now=world.clock.time, entropy=world.entropy)
    assert first != second
    assert manager(world, cookie=first).get("/v1/admin/me").status_code == 401
    assert manager(world, cookie=second).get("/v1/admin/me").status_code == 200
