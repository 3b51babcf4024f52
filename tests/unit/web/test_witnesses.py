"""What others say decides with what the device says: an MDM's records, the tunnel's sightings, and their contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jwt
import pytest

from agent import wire
from agent.wire import Fact
from gateway.access import sessions
from gateway.access.sightings import Sightings
from gateway.policy.model import EvidenceGrade, Posture
from gateway.store.engine import reading
from gateway.web import witnessing
from gateway.witness import Record
from tests.sim.gateway import FULL, HEALTHY, POLICY, QUARANTINE, Device, World

MANAGED = POLICY.replace(
    "checks:",
    "checks:\n"
    "  managed: {check: mdm, enrolled: true, compliant: true, seen_max_age: 1h, otherwise: quarantine}\n"
    "  consistent: {check: seen, consistent: true, otherwise: quarantine}",
)
NAMES = {"device.serial": "PF3ABCDE", "device.uuid": "4c4c4544-0051-3510-8052-b4c04f4a3232"}
SYN = "64:64240:MSTNW"


@dataclass
class Scripted:
    """A witness that says what it is told to: the second one beside Fleet."""

    name: str = "scripted"
    said: list[Record] = field(default_factory=list)

    def records(self) -> Iterable[Record]:
        return self.said


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, policy=MANAGED)
    made.tick()
    yield made
    made.close()


def record(world: World, **differences: Any) -> Record:
    at = differences.pop("seen_at", world.clock.time)
    names = {"serial": "PF3ABCDE", "uuid": NAMES["device.uuid"], **differences}
    facts = {"mdm.enrolled": True, "mdm.compliant": True, "mdm.seen_at": at.timestamp(), "mdm.disk_encrypted": True}
    return Record(names["serial"], names["uuid"], at, {**facts, **differences.get("facts", {})})


def ask(world: World, *records: Record) -> int:
    return witnessing.ask(world.deployment, Scripted(said=list(records)))


def posture(device: Device) -> Posture:
    with reading(device.world.engine) as db:
        session = sessions.live_session(db, device.id)
        assert session is not None
        found = sessions.latest_posture(db, session)
    assert found is not None
    return found


def test_a_device_that_its_mdm_confirms_has_access_and_loses_it_at_the_next_round(managed: World) -> None:
    laptop = managed.device().connect(NAMES)
    assert laptop.reach == QUARANTINE
    assert ask(managed, record(managed)) == 1
    assert laptop.reach == FULL
    assert posture(laptop).grade_of("device.serial") is EvidenceGrade.VENDOR_CONFIRMED
    assert ask(managed, record(managed, facts={"mdm.compliant": False})) == 1
    assert laptop.reach == QUARANTINE
    assert ask(managed) == 1, "the MDM forgot the device: that is another reason, and no less of one"
    assert posture(laptop).facts["mdm.enrolled"].absent == "there is no record of this device"


def test_a_report_carries_the_mdms_word_on(managed: World) -> None:
    laptop = managed.device().connect(NAMES)
    ask(managed, record(managed))
    laptop.report(NAMES)
    assert laptop.reach == FULL


def test_what_a_device_says_in_the_name_of_others_is_not_heard(managed: World) -> None:
    forged = {"mdm.enrolled": True, "mdm.compliant": True, "mdm.seen_at": managed.clock.time.timestamp()}
    laptop = managed.device().connect({**NAMES, **forged, "seen.contradictions": []})
    assert laptop.reach == QUARANTINE
    assert "mdm.enrolled" not in posture(laptop).facts


def test_a_record_that_is_too_old_is_worth_nothing(managed: World) -> None:
    managed.deployment = replace(managed.deployment, witness_age=timedelta(seconds=30))
    managed.browser = managed.new_browser()
    laptop = managed.device().connect(NAMES)
    ask(managed, record(managed))
    assert laptop.reach == FULL
    managed.passes(20)
    laptop.report(NAMES)
    assert laptop.reach == FULL
    managed.passes(20)
    laptop.report(NAMES)
    assert laptop.reach == QUARANTINE
    assert "has not seen the device" in str(posture(laptop).facts["mdm.enrolled"].absent)


def test_a_serial_number_that_two_devices_claim_confirms_neither(managed: World) -> None:
    laptop = managed.device().connect(NAMES)
    ask(managed, record(managed))
    assert laptop.reach == FULL
    thief = managed.device("thief", user="bob").connect(NAMES)
    ask(managed, record(managed))
    assert (laptop.reach, thief.reach) == (QUARANTINE, QUARANTINE)
    assert posture(thief).facts["mdm.enrolled"].absent == "more than one device claims this record"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"device.serial": "pf3abcde"}, True),
        ({"device.uuid": NAMES["device.uuid"].upper()}, True),
        ({"device.serial": "PF3ABCDE", "device.uuid": "11111111-0051-3510-8052-b4c04f4a3232"}, True),
        ({"device.serial": "OTHER", "device.uuid": NAMES["device.uuid"]}, False),
        ({"device.serial": ["PF3ABCDE"]}, False),
        ({"device.serial": ""}, False),
        ({}, False),
    ],
)
def test_a_record_is_found_by_what_the_device_claims(managed: World, names: dict[str, Any], found: bool) -> None:
    """A second machine in the MDM has the serial number OTHER: the claims of one device may not name two machines."""
    laptop = managed.device().connect(names)
    ask(managed, record(managed), record(managed, serial="OTHER", uuid="22222222-0051-3510-8052-b4c04f4a3232"))
    assert (laptop.reach == FULL) is found


def test_a_contradiction_is_a_finding_and_the_devices_word_stays(managed: World) -> None:
    laptop = managed.device().connect({**NAMES, "disk.root_encrypted": True})
    ask(managed, record(managed, facts={"mdm.disk_encrypted": False}))
    assert laptop.reach == QUARANTINE
    found = laptop.report({**NAMES, "disk.root_encrypted": True}).json()["findings"]
    assert [f["check"] for f in found] == ["consistent"]
    assert "the MDM that it is not encrypted" in found[0]["reason"]
    assert posture(laptop).facts["disk.root_encrypted"].value is True
    ask(managed, record(managed))
    assert laptop.reach == FULL


def event(device: Device, *, fingerprint: str = SYN, destination: str = "10.20.0.10") -> str:
    return f"event=syn public_key={device.public_key.hex()} destination={destination} fingerprint={fingerprint}\n"


def test_packets_that_look_like_another_system_contradict_the_device(managed: World) -> None:
    laptop = managed.device().connect(NAMES)
    ask(managed, record(managed))
    managed.deployment.sightings.note(event(laptop), now=managed.clock.time)
    laptop.report(NAMES)
    assert posture(laptop).facts["seen.os_family"].value == "linux"
    assert laptop.reach == FULL
    managed.deployment.sightings.note(event(laptop, fingerprint="128:64240:MNWNNS"), now=managed.clock.time)
    found = laptop.report(NAMES).json()["findings"]
    assert "its packets look like windows" in found[0]["reason"]
    assert laptop.reach == QUARANTINE


def test_the_use_of_an_update_server_is_seen(world: World) -> None:
    world.deployment = replace(world.deployment, sightings=Sightings([ip_network("10.20.9.0/28")]))
    world.browser = world.new_browser()
    laptop = world.device().connect()
    seen = world.deployment.sightings
    for destination, at in (("10.20.0.10", None), ("10.20.9.5", world.clock.time.timestamp()), ("nowhere", None)):
        seen.note(event(laptop, destination=destination), now=world.clock.time)
        laptop.report()
        found = posture(laptop).facts["seen.updates_at"].value
        assert at is None or found == at


@pytest.mark.parametrize(
    "line", ["", "\0", "event=syn", "event=handshake public_key=" + "0" * 64, "event=syn public_key=zz", "x" * 100_000]
)
def test_a_line_that_is_no_sighting_changes_nothing(line: str, world: World) -> None:
    seen = Sightings()
    seen.note(line, now=world.clock.time)
    assert seen.facts("0" * 64, now=world.clock.time)["seen.os_family"].value is None


def test_the_clock_of_the_device_is_held_against_ours(world: World) -> None:
    laptop = world.device().connect()
    laptop.report(iat=world.clock.time.timestamp() - 40)
    assert posture(laptop).facts["seen.clock_skew"].value == -40
    assert posture(laptop).grade_of("seen.clock_skew") is EvidenceGrade.VENDOR_CONFIRMED


def test_the_address_of_the_device_is_where_its_packets_come_from(world: World) -> None:
    laptop = world.device().connect()
    assert posture(laptop).facts["seen.address"].absent
    peer = world.tunnel.peer(laptop.public_key)
    assert peer is not None
    status = replace(world.tunnel.status(), peers=(replace(peer, endpoint=("203.0.113.7", 40000)),))
    seen = world.deployment.sightings
    seen.locate(status, now=world.clock.time)
    laptop.report()
    assert posture(laptop).facts["seen.address"].value == "203.0.113.7"
    line = f"event=endpoint public_key={laptop.public_key.hex()} endpoint=2001:db8::9 port=40000\n"
    seen.note(line, now=world.clock.time)
    laptop.report()
    assert posture(laptop).facts["seen.address"].value == "2001:db8::9"


def test_a_heartbeat_keeps_what_others_have_said(managed: World) -> None:
    laptop = managed.device().connect()
    own = {name: Fact(value, "test", laptop.now()) for name, value in {**HEALTHY, **NAMES}.items()}
    assert laptop.report(facts=wire.told(own)).status_code == 200
    ask(managed, record(managed))
    digest = wire.digest(wire.told(own))
    heartbeat = wire.PostureReport(laptop.session, laptop.sequence + 1, laptop.nonce, laptop.now(), unchanged=digest)
    body = jwt.encode(heartbeat.to_json(), laptop.key, "ES256", headers={"typ": wire.TYP_REPORT, "kid": laptop.id})
    answer = laptop.post(f"/v1/sessions/{laptop.session}/reports", body)
    assert answer.status_code == 200, answer.text
    assert laptop.reach == FULL
