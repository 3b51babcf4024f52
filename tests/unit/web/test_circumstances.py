"""Where somebody connects from, what DNS names stand for, and how much at once: judged by what the tunnel lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from gateway.access import names as names_of
from gateway.access.names import LONGEST_TTL, RETRY, STALE, Found
from gateway.access.place import Map, Place
from gateway.policy.load import loads
from gateway.store import tables
from gateway.store.engine import reading
from gateway.web import names
from gateway.web.app import make_app
from tests.sim.gateway import ORIGIN, World

POLICY = """
policy: circumstances
tiers: [full, limited, quarantine, denied]
resources:
  git: {names: [git.example.com], ports: [tcp/443]}
  vault: {destinations: [10.30.0.1/32]}
  lan: {destinations: [10.30.0.0/16]}
networks: {office: [9.9.9.0/24]}
access:
  - {groups: [everyone], tier: quarantine, resources: [git]}
  - {groups: [everyone], tier: full, resources: [vault], networks: [office]}
  - {groups: [finance], tier: full, resources: [lan], countries: [AT]}
deny:
  - {groups: [contractors], resources: [vault]}
checks:
  firewall-on: {check: firewall, enabled: true, otherwise: limited}
limits:
  - {groups: [everyone], sessions: 2}
  - {groups: [visitors], sessions: 1, max_duration: 1h, idle: 2m}
session: {lease: 60s}
"""
GIT, VAULT, LAN = "10.20.0.7/32 tcp/443", "10.30.0.1/32", "10.30.0.0/16"
TTL = timedelta(seconds=20)


class Zone:
    """Name servers that answer what they are told to; None is no answer."""

    def __init__(self) -> None:
        self.found: Found | None = Found(("10.20.0.7",), TTL)
        self.asked = 0

    def __call__(self, name: str) -> Found | None:
        assert name == "git.example.com"
        self.asked += 1
        return self.found


class Office(World):
    """A gateway with a zone, whose browser and devices connect from where they are put."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, policy=POLICY)
        self.zone = Zone()
        self.deployment = replace(self.deployment, lookup=self.zone)
        self.from_address("9.9.9.7")

    def from_address(self, address: str, country: str | None = None) -> None:
        self.deployment = replace(self.deployment, map=_Told(country))
        app = make_app(self.deployment, work=False)
        self.browser = TestClient(app, base_url=ORIGIN, follow_redirects=False, client=(address, 40000))

    def resolves(self) -> None:
        names.refresh(self.deployment, now=self.clock.time)
        self.tick()


class _Told(Map):
    def __init__(self, country: str | None) -> None:
        super().__init__()
        self._told = country

    def _country(self, address: str) -> str | None:
        return self._told


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    made.tick()
    yield made
    made.close()


def test_an_answer_opens_a_name_at_once_and_another_answer_moves_it(office: Office) -> None:
    device = office.device(groups=()).connect()
    assert device.reach == {VAULT}
    office.resolves()
    assert device.reach == {VAULT, GIT}
    office.zone.found = Found(("10.20.0.8", "2001:db8::8"), TTL)
    office.passes(TTL.total_seconds())
    office.resolves()
    assert device.reach == {VAULT, "10.20.0.8/32 tcp/443", "2001:db8::8/128 tcp/443"}


def test_a_name_that_is_no_more_opens_nothing_at_once(office: Office) -> None:
    office.resolves()
    device = office.device(groups=()).connect()
    assert device.reach == {VAULT, GIT}
    office.zone.found = Found((), TTL)
    office.passes(TTL.total_seconds())
    office.resolves()
    assert device.reach == {VAULT}


def test_an_answer_that_cannot_be_had_again_is_kept_for_a_while_and_not_for_ever(office: Office) -> None:
    office.resolves()
    office.zone.found = None
    office.clock.time += TTL
    office.resolves()
    with reading(office.engine) as db:
        assert names_of.known(db) == {"git.example.com": ("10.20.0.7",)}
    office.clock.time += STALE - timedelta(microseconds=1)
    office.resolves()
    with reading(office.engine) as db:
        assert names_of.known(db) == {"git.example.com": ("10.20.0.7",)}
    office.clock.time += RETRY
    office.resolves()
    with reading(office.engine) as db:
        assert names_of.known(db) == {}


def test_a_name_is_asked_for_when_its_ttl_is_over_and_at_least_every_five_minutes(office: Office) -> None:
    office.zone.found = Found(("10.20.0.7",), timedelta(days=1))
    office.resolves()
    office.resolves()
    assert office.zone.asked == 1
    office.clock.time += LONGEST_TTL
    office.resolves()
    assert office.zone.asked == 2


def test_a_name_that_the_policy_has_no_more_is_forgotten(office: Office) -> None:
    office.resolves()
    fewer = POLICY.replace("names: [git.example.com]", "names: [www.example.com]")
    office.zone = lambda name: None  # type: ignore[assignment]
    office.deployment = replace(office.deployment, lookup=office.zone, policy=loads(fewer, "p.yaml"))
    names.refresh(office.deployment, now=office.clock.time)
    with reading(office.engine) as db:
        assert [row.name for row in db.exec(select(tables.Name)).all()] == ["www.example.com"]


def test_loopback_and_other_special_addresses_in_an_answer_open_nothing(office: Office) -> None:
    office.zone.found = Found(("127.0.0.1", "169.254.169.254", "224.0.0.1", "::1", "10.20.0.7"), TTL)
    office.resolves()
    assert office.device(groups=()).connect().reach == {VAULT, GIT}


def test_what_was_decided_by_a_name_is_recorded_with_its_answer(office: Office) -> None:
    office.resolves()
    office.device(groups=()).connect()
    with reading(office.engine) as db:
        questions = [row.question for row in db.exec(select(tables.History)).all()]
    assert all(question["answers"] == {"git.example.com": ["10.20.0.7"]} for question in questions)


def test_who_leaves_the_network_of_a_grant_loses_it_with_the_next_report(office: Office) -> None:
    device = office.device(groups=()).connect()
    assert device.reach == {VAULT}
    office.from_address("8.8.8.8")
    device.report()
    assert device.reach == set()


def test_a_country_opens_what_is_granted_there_and_no_country_opens_nothing(office: Office) -> None:
    device = office.device(groups=("finance",)).connect()
    assert device.reach == {VAULT}
    for country, reach in (("AT", {VAULT, LAN}), ("DE", {VAULT}), (None, {VAULT})):
        office.from_address("9.9.9.7", country)
        device.report()
        assert device.reach == reach, country


def test_a_private_address_has_a_country_of_its_own_and_a_mapped_one_is_what_it_maps() -> None:
    assert Map().place("10.1.2.3") == Place("10.1.2.3", "private")
    assert Map().place("100.64.0.1") == Place("100.64.0.1", "private")
    assert Map().place("::ffff:192.168.0.1") == Place("192.168.0.1", "private")
    assert Map().place("8.8.8.8") == Place("8.8.8.8", None)
    assert Map().place("testclient") == Map().place(None) == Place()


def test_a_user_has_no_more_sessions_than_the_lowest_limit_and_the_same_device_may_always_begin_again(
    office: Office,
) -> None:
    one, two, three = (office.device(f"laptop-{n}", groups=()) for n in range(3))
    assert one.begin().status_code == two.begin().status_code == 201
    refused = three.begin()
    assert (refused.status_code, refused.json()["code"]) == (409, "too-many-sessions")
    assert "the policy allows 2" in refused.json()["detail"]
    assert one.begin().status_code == 201
    assert one.leave().status_code == 204
    assert three.begin().status_code == 201
    assert office.device("other", user="bob", groups=()).begin().status_code == 201


def test_the_limits_of_a_group_end_its_sessions_sooner(office: Office) -> None:
    visitor = office.device(user="eve", groups=("visitors",))
    employee = office.device(user="bob", groups=())
    for device in (visitor, employee):
        device.connect()
    for _ in range(4):
        office.passes(30)
        for device in (visitor, employee):
            device.report()
    assert visitor.reach is None
    assert employee.reach is not None


def test_a_longest_duration_of_a_group_counts_from_the_beginning(office: Office) -> None:
    visitor = office.device(user="eve", groups=("visitors",))
    visitor.begin()
    with reading(office.engine) as db:
        session = db.get(tables.Session, visitor.session)
        assert session is not None
        assert session.expires_at - session.started_at == timedelta(hours=1)
