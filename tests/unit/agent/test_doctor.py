"""Each thing that can be broken is named, with what to do next."""

from __future__ import annotations

import email.utils
from pathlib import Path
from typing import Any

import pytest

from agent import doctor
from agent.device_key import DeviceKey
from agent.doctor import Seen
from agent.state import State
from agent.wire import Enrolment
from tests.unit.agent.conftest import Server
from tests.unit.agent.test_client import authority, says_json

NOW = 1_800_000_000.0
READY = {"ready": True, "checks": {"database": True, "provider": True}}


def seen(state: State) -> dict[str, Seen]:
    return {each.what: each for each in doctor.examine(state)}


def enrolled(folder: Path, url: str, trusted: Path | None = None) -> State:
    state = State(folder)
    state.prepare()
    state.keep_enrolment(Enrolment(url, "device", "alice"), trusted)
    return state


def test_a_machine_that_is_not_enrolled_is_told_how(tmp_path: Path) -> None:
    assert seen(State(tmp_path))["enrolment"].fix == "sallyport-agent enrol URL"


def test_a_gateway_that_answers_is_asked_for_its_clock_and_its_provider(server: Server, tmp_path: Path) -> None:
    server.answer = lambda request: says_json(request, READY)
    found = seen(enrolled(tmp_path / "state", server.url))
    assert all(found[name].right for name in ("dns", "gateway", "clock", "provider"))
    assert found["agent"].fix == "systemctl start sallyport-agent, or sallyport-agent run as root"


def test_a_provider_that_the_gateway_cannot_reach_is_nobody_elses_fault(server: Server, tmp_path: Path) -> None:
    broken = {"ready": False, "checks": {"database": True, "provider": False}}
    server.answer = lambda request: says_json(request, broken, status=503)
    assert "lacks: provider" in seen(enrolled(tmp_path / "state", server.url))["provider"].said


def test_nobody_at_the_address_and_a_name_that_leads_nowhere_are_different_faults(tmp_path: Path) -> None:
    assert "cannot be reached" in seen(enrolled(tmp_path / "one", "http://127.0.0.1:1"))["gateway"].said
    found = seen(enrolled(tmp_path / "two", "https://gateway.invalid"))
    assert "DNS" in (found["dns"].fix or "")
    assert "gateway" not in found


def test_a_certificate_of_a_stranger_is_named_as_one(tmp_path: Path, device_key: DeviceKey) -> None:
    _, tls = authority(tmp_path / "one")
    other, _ = authority(tmp_path / "two")
    server = Server(tls)
    try:
        found = seen(enrolled(tmp_path / "state", server.url, other))["gateway"]
        assert "certificate is not trusted" in found.said
        assert "captive portal" in (found.fix or "")
    finally:
        server.close()


@pytest.mark.parametrize(
    ("date", "right"),
    [
        (email.utils.formatdate(NOW, usegmt=True), True),
        (email.utils.formatdate(NOW - 20, usegmt=True), True),
        (email.utils.formatdate(NOW + 3600, usegmt=True), False),
        (None, False),
        ("yesterday", False),
    ],
)
def test_a_clock_that_is_wrong_is_found(date: str | None, right: bool) -> None:
    assert doctor.clock(date, now=NOW).right is right


def test_a_missing_device_and_missing_programs_say_what_to_install(tmp_path: Path) -> None:
    assert doctor.tun(tmp_path / "tun").fix == "modprobe tun"
    assert doctor.programs(lambda name: None).fix == "apt install iproute2 nftables util-linux"
    assert doctor.programs(lambda name: name).right


def test_what_is_polled_is_said() -> None:
    assert "system bus" in doctor.watchers(["system bus (No such file)"]).said
    assert doctor.watchers([]).right


def test_protection_that_is_incomplete_is_a_fault() -> None:
    assert not doctor.protection({"shortcomings": ["nft is missing: install nftables"]}).right
    assert doctor.protection({"protected": []}).right


@pytest.mark.parametrize(
    ("local", "right"),
    [(["192.168.1.5/24"], True), (["10.20.3.4/24"], False), (["fd00::5/64"], False), ([], True)],
)
def test_a_network_with_the_offices_addresses_is_named(local: list[str], right: bool) -> None:
    assert doctor.overlap(["0.0.0.0/0", "10.20.0.0/16", "fd00::/8"], local).right is right


def test_a_tunnel_that_never_answered_points_at_udp() -> None:
    status: dict[str, Any] = {"state": "connected", "since": NOW - 60, "handshake_at": 0, "interface": "spnever"}
    assert "UDP" in (doctor.packets(status, now=NOW).fix or "")
    status["handshake_at"] = NOW - 30
    assert "none came back" in doctor.packets(status, now=NOW).said
    assert "no tunnel" in doctor.packets({"state": "denied"}, now=NOW).said
