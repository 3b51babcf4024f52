"""An agent's conversation with the gateway, judged by what the tunnel then lets through."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import text

from agent import answers, wire
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from tests.sim.gateway import FULL, HEALTHY, LIMITED, ORIGIN, POLICY, QUARANTINE, Device, World


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["detail"]
    return problem


# the way in


def test_a_healthy_device_of_finance_reaches_payroll(world: World) -> None:
    device = world.device()
    assert device.reach is None
    device.connect()
    assert device.reach == FULL
    assert world.audit() == [
        "device.enrolled",
        "device.logged-in",
        "session.began",
        "session.restored",
        "credential.issued",
    ]


def test_a_user_outside_finance_reaches_the_wiki(world: World) -> None:
    assert world.device(user="bob", groups=()).connect().reach == LIMITED


def test_a_credential_says_everything_that_the_agent_needs(world: World) -> None:
    device = world.device()
    device.begin()
    device.report()
    told = wire.TunnelConfig.from_json(device.ask_credential().json()["tunnel"])
    assert told.public_key == b64encode(world.end.public_key).decode()
    assert told.endpoint == "192.0.2.1:51820"
    assert told.addresses == ("100.96.0.2/32", "fd53::2/128")
    assert told.routes == ("10.20.0.10/32", "10.20.5.0/24", "10.20.9.0/28")
    peer = world.tunnel.peer(device.public_key)
    assert peer is not None
    assert tuple(str(n) for n in peer.allowed_ips) == told.addresses
    assert peer.lease_ms == 60_000


def test_without_a_report_there_is_no_credential(world: World) -> None:
    device = world.device()
    device.begin()
    refused(device.ask_credential(), 409, "report-first")
    assert device.reach is None


def test_an_unknown_device_opens_no_session(world: World) -> None:
    refused(Device(world).begin(), 401, "device-unknown")


def test_the_worst_tier_is_where_a_session_begins(world: World) -> None:
    told = world.device().begin().json()
    assert (told["tier"], told["lease_ms"], told["heartbeat_ms"]) == ("quarantine", 60_000, 20_000)
    assert told["findings"][0]["check"] == "report"


# while it lives


def test_a_fact_that_changes_narrows_the_live_session_before_the_answer(world: World) -> None:
    device = world.device().connect()
    told = device.report({"firewall.enabled": False}).json()
    assert device.reach == QUARANTINE
    assert told["tier"] == "quarantine"
    assert [(f["check"], f["fix"]) for f in told["findings"]] == [("firewall-on", "sudo ufw enable")]
    assert [r["name"] for r in told["resources"]] == ["remediation"]


def test_a_finding_tells_who_answers_for_it_and_an_agent_reads_the_answer(world: World) -> None:
    told = "severity: explicit, owner: it@example.com, link: https://wiki.example.com/fw"
    world.restart(POLICY.replace("fix: {linux: sudo ufw enable}", f"fix: {{linux: sudo ufw enable}}, {told}"))
    answer = world.device().connect().report({"firewall.enabled": False}).json()
    (finding,) = answer["findings"]
    assert (finding["explicit"], finding["owner"], finding["link"]) == (
        True,
        "it@example.com",
        "https://wiki.example.com/fw",
    )
    assert [read.check for read in answers.verdict(answer).findings] == ["firewall-on"]


def test_a_check_is_about_the_devices_that_it_names(world: World) -> None:
    named, other = world.device(), world.device()
    mine = f"  mine: {{check: disk-encryption, root: true, otherwise: quarantine, devices: [{named.id}]}}\nsession:"
    world.restart(POLICY.replace("session:", mine))
    assert (named.connect().reach, other.connect().reach) == (QUARANTINE, FULL)


def test_a_fix_restores_the_same_session(world: World) -> None:
    device = world.device().connect({"firewall.enabled": False})
    assert device.reach == QUARANTINE
    assert device.report().json()["tier"] == "full"
    assert device.reach == FULL
    assert world.audit()[-1] == "session.restored"


@pytest.mark.parametrize("missing", ["firewall.enabled", "antivirus.running"])
def test_a_fact_that_is_missing_or_could_not_be_read_is_a_failed_check(world: World, missing: str) -> None:
    device = world.device().connect()
    facts = {name: wire.Fact(value, "test", 0.0).to_json() for name, value in HEALTHY.items() if name != missing}
    assert device.report(facts=facts).status_code == 200
    assert device.reach == (QUARANTINE if missing == "firewall.enabled" else LIMITED)
    facts[missing] = wire.Fact(None, "test", 0.0, absent="not installed").to_json()
    assert device.report(facts=facts).json()["tier"] != "full"


def test_a_finding_in_grace_takes_nothing_away_until_the_grace_ends(world: World) -> None:
    device = world.device().connect({"patches.security_pending": 3})
    assert device.reach == FULL
    for _ in range(20):
        world.passes(29)
        device.report({"patches.security_pending": 3})
    assert device.reach == FULL, "9 minutes 40"
    world.passes(20)
    assert device.reach == LIMITED, "10 minutes, and no report was needed"


def test_a_report_that_grows_old_lowers_the_tier_at_its_instant(world: World) -> None:
    device = world.device().connect()
    world.passes(44.9)
    assert device.reach == FULL
    world.passes(0.1)
    assert device.reach == LIMITED


def test_a_denied_device_loses_its_session(world: World) -> None:
    device = world.device().connect()
    problem = refused(device.report({"agent.version": "0.0.1"}), 403, "denied")
    assert problem["findings"][0]["check"] == "supported"
    assert device.reach is None
    refused(device.report(), 409, "session-ended")


def test_a_new_session_of_a_device_ends_the_old_one(world: World) -> None:
    device = world.device().connect()
    old_key, old_session = device.public_key, device.session
    device.new_tunnel_key()
    device.connect()
    assert world.tunnel.peer(old_key) is None
    assert device.session != old_session
    assert device.reach == FULL


def test_leaving_ends_the_session(world: World) -> None:
    device = world.device().connect()
    assert device.leave().status_code == 204
    assert device.reach is None
    assert world.audit()[-1] == "session.ended"


def test_a_device_that_logs_in_again_keeps_its_name(world: World) -> None:
    device = world.device()
    assert device.enrol(world.log_in()).json()["device"] == device.id
    assert world.audit().count("device.enrolled") == 1


# leases


def test_silence_ends_the_session_and_the_tunnel_needs_nobody_for_it(world: World) -> None:
    device = world.device().connect()
    world.passes(59)
    assert device.reach is not None
    world.passes(1)
    assert device.reach is None
    refused(device.report(), 409, "session-ended")


def test_reports_keep_the_lease_alive_in_the_tunnel(world: World) -> None:
    device = world.device().connect()
    for _ in range(10):
        world.passes(20)
        assert device.report().status_code == 200
        world.tick()
    peer = world.tunnel.peer(device.public_key)
    assert peer is not None
    assert peer.lease_ms == 60_000


def test_the_lease_never_outlives_the_login(world: World) -> None:
    device = world.device()
    world.clock.time += timedelta(hours=11, minutes=59, seconds=50)
    assert device.connect().report().json()["lease_ms"] == 10_000
    world.passes(10)
    assert device.reach is None
    refused(device.begin(), 401, "login-required")


# malformed, replayed, foreign


def test_a_replayed_report_is_refused_and_changes_nothing_whenever_it_comes(world: World) -> None:
    device = world.device().connect()
    first, path = device.report_body(), f"/v1/sessions/{device.session}/reports"
    answer = device.post(path, first)
    device.nonce, device.sequence = answer.json()["nonce"], answer.json()["sequence"]
    assert device.report({"firewall.enabled": False}).status_code == 200
    for _ in range(3):  # it is neither the last one nor the one before
        problem = refused(device.post(path, first), 409, "report-replayed")
        assert "nonce" not in problem, "who replays is told nothing"
    assert device.reach == QUARANTINE
    assert device.report().status_code == 200
    assert device.reach == FULL
    assert "device.quarantined" not in world.audit()


@pytest.mark.parametrize("claims", [{"seq": 1}, {"seq": 7}])
def test_a_report_out_of_order_is_refused(world: World, claims: dict[str, Any]) -> None:
    device = world.device().connect()
    refused(device.report(**claims), 409, "report-out-of-order")
    assert device.reach == FULL


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"v": 2}, "claims"),
        ({"seq": "2"}, "claims"),
        ({"seq": True}, "claims"),
        ({"iat": "yesterday"}, "claims"),
        ({"facts": []}, "claims"),
        ({"facts": {"x": 1}}, "claims"),
        ({"facts": {"x": {"value": 1}}}, "report"),
        ({"session": "x" * 32}, "report-of-another-session"),
        ({"session": None}, "claims"),
    ],
)
def test_a_malformed_report_says_what_is_wrong_and_loses_nothing(
    world: World, claims: dict[str, Any], code: str
) -> None:
    device = world.device().connect()
    answer = device.report(**claims)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert device.reach == FULL
    assert device.report().status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"x", b"a.b.c", b"\xff\xfe", b"." * 60_000, b"eyJhbGciOiJub25lIn0.e30.", "ü".encode() * 100]
)
def test_bytes_that_are_no_report_are_a_problem(world: World, body: bytes) -> None:
    device = world.device().connect()
    answer = device.post(f"/v1/sessions/{device.session}/reports", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert device.report().status_code == 200


def test_a_report_of_the_future_is_refused(world: World) -> None:
    device = world.device().connect()
    refused(device.report(iat=world.clock.time.timestamp() + 61), 401, "clock")


def test_a_body_too_large_is_refused(world: World) -> None:
    device = world.device().connect()
    refused(device.post(f"/v1/sessions/{device.session}/reports", b"x" * 70_000), 413, "body-too-large")


def test_another_content_type_is_refused(world: World) -> None:
    answer = world.browser.post("/v1/sessions", content="x", headers={"content-type": "multipart/form-data"})
    refused(answer, 415, "media-type")


def test_a_request_is_used_once(world: World) -> None:
    device = world.device()
    body = device.sign(wire.TYP_SESSION, {"nonce": ""})
    assert device.post("/v1/sessions", body).status_code == 201
    refused(device.post("/v1/sessions", body), 401, "proof-replayed")


def test_a_signature_for_one_thing_is_none_for_another(world: World) -> None:
    device = world.device().connect()
    answer = device.post("/v1/sessions", device.sign(wire.TYP_ASSERTION, {}))
    assert answer.status_code == 400
    assert device.reach == FULL


def test_a_session_of_another_device_is_not_found(world: World) -> None:
    alice, mallory = world.device().connect(), world.device("other", user="mallory", groups=())
    mallory.begin()
    mallory.session, nonce = alice.session, mallory.nonce
    refused(mallory.report(nonce=nonce), 404, "session-unknown")
    refused(mallory.ask_credential(), 404, "session-unknown")
    refused(mallory.leave(), 404, "session-unknown")
    assert alice.reach == FULL


@pytest.mark.parametrize("session", ["x", "..%2f..%2fetc", "' OR 1=1 --", "a" * 500])
def test_a_name_that_is_none_is_not_looked_up(world: World, session: str) -> None:
    device = world.device()
    device.begin()
    path = f"/v1/sessions/{session}/credential"
    asked = device.authorization("POST", path.replace("%2f", "/"))
    assert world.browser.post(path, json={"public_key": ""}, headers=asked).status_code == 404


@pytest.mark.parametrize(
    ("claims", "code"), [({"htm": "GET"}, "dpop-method"), ({"htu": f"{ORIGIN}/v1/sessions/other"}, "dpop-url")]
)
def test_a_proof_is_for_one_method_and_path(world: World, claims: dict[str, Any], code: str) -> None:
    device = world.device().connect()
    path = f"/v1/sessions/{device.session}"
    answer = world.browser.delete(path, headers=device.authorization("DELETE", path, **claims))
    refused(answer, 401, code)
    assert device.reach == FULL


def test_without_a_proof_nothing_is_ended(world: World) -> None:
    device = world.device().connect()
    refused(world.browser.delete(f"/v1/sessions/{device.session}"), 401, "token-missing")
    assert device.reach == FULL


# tunnel keys


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        5,
        ["a"],
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        b64encode(bytes([9] * 32)).decode()[:-2] + "F=",
        b64encode(bytes([9] * 32)).decode() + "\n",
    ],
)
def test_a_tunnel_key_that_is_none_is_refused(world: World, key: object) -> None:
    device = world.device()
    device.begin()
    device.report()
    refused(device.ask_credential(key), 400, "key-malformed")


@pytest.mark.parametrize("key", [bytes(32), bytes([1, *bytes(31)]), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_key_of_low_order_is_refused(world: World, key: bytes) -> None:
    device = world.device()
    device.begin()
    device.report()
    refused(device.ask_credential(b64encode(key).decode()), 400, "key-weak")


def test_the_gateways_own_key_is_refused(world: World) -> None:
    device = world.device()
    device.begin()
    device.report()
    refused(device.ask_credential(b64encode(world.end.public_key).decode()), 400, "key-weak")


def test_asking_again_with_the_same_key_gives_the_same(world: World) -> None:
    device = world.device().connect()
    again = device.ask_credential()
    assert again.json()["tunnel"]["addresses"] == ["100.96.0.2/32", "fd53::2/128"]
    assert world.audit().count("credential.issued") == 1


def test_a_new_key_replaces_the_old_one_and_keeps_the_address(world: World) -> None:
    device = world.device().connect()
    old = device.public_key
    device.new_tunnel_key()
    assert device.ask_credential().json()["tunnel"]["addresses"] == ["100.96.0.2/32", "fd53::2/128"]
    assert world.tunnel.peer(old) is None
    assert device.reach == FULL


def test_a_key_that_was_used_once_never_returns(world: World) -> None:
    device = world.device().connect()
    device.begin()
    device.report()
    refused(device.ask_credential(), 409, "key-used")
    other = world.device("other", user="bob", groups=())
    other.begin()
    other.report()
    refused(other.ask_credential(b64encode(device.public_key).decode()), 409, "key-used")
    assert device.reach is None


def test_an_address_rests_three_minutes(world: World) -> None:
    device = world.device().connect()
    device.leave()
    other = world.device("other", user="bob").connect()
    assert "100.96.0.3" in str(world.tunnel.peer(other.public_key))
    world.passes(180)
    third = world.device("third", user="carol").connect()
    assert "100.96.0.2" in str(world.tunnel.peer(third.public_key))


# the tunnel fails


def test_without_a_tunnel_there_is_no_credential_and_asking_again_helps(world: World) -> None:
    device = world.device()
    device.begin()
    device.report()
    world.tunnel.stop()
    refused(device.ask_credential(), 503, "tunnel-unavailable")
    world.tunnel.start()
    world.tick()
    assert device.ask_credential().status_code == 200
    assert device.reach == FULL


def test_a_tunnel_that_restarts_gets_everything_back_and_nothing_more(world: World) -> None:
    device, gone = world.device().connect(), world.device("other", user="bob").connect()
    world.tunnel.stop()
    gone.leave()
    assert device.report({"firewall.enabled": False}).json()["tier"] == "quarantine"
    world.tunnel.start()
    world.tick()
    assert device.reach == QUARANTINE
    assert gone.reach is None


def test_a_gateway_that_restarts_keeps_the_live_sessions_as_they_are(world: World) -> None:
    device = world.device().connect()
    world.tunnel.requests.clear()
    world.restart()
    assert device.reach == FULL
    assert not [r for r in world.tunnel.requests if "replace_peers" in r]
    assert device.report().status_code == 200


def test_a_foreign_peer_is_removed(world: World) -> None:
    stranger = PeerConfig(X25519PrivateKey.generate().public_key().public_bytes_raw())
    world.tunnel.interface.configure(InterfaceConfig(peers=(stranger,)), now=world.tunnel.now)
    world.passes(5)
    assert world.tunnel.status().peers == ()


def test_another_policy_rules_live_sessions_at_once(world: World) -> None:
    device = world.device().connect()
    world.restart(policy=STRICTER)
    assert device.reach == QUARANTINE


STRICTER = """
policy: stricter
tiers: [full, quarantine, denied]
resources:
  remediation: {destinations: [10.20.9.0/28], ports: [tcp/80]}
access:
  - {groups: [everyone], tier: quarantine, resources: [remediation]}
checks:
  encrypted: {check: disk-encryption, root: true, otherwise: quarantine}
"""


# fail closed


def test_with_a_clock_that_was_moved_nothing_new_is_granted(world: World) -> None:
    device = world.device().connect()
    world.clock.moved = True
    refused(device.begin(), 503, "clock-moved")
    refused(device.ask_credential(), 503, "clock-moved")
    assert device.report({"firewall.enabled": False}).status_code == 200
    assert device.reach == QUARANTINE, "downgrades go on"


def test_a_record_that_is_broken_costs_its_own_session_only(world: World) -> None:
    device, other = world.device().connect(), world.device("other", user="bob").connect()
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE postures SET facts = '[1]' WHERE device = :d"), {"d": device.id})
    world.passes(45)
    assert device.reach is None
    assert other.reach == LIMITED


def test_when_the_pool_is_used_up_nobody_is_evicted(tmp_path: Any) -> None:
    world = World(tmp_path, networks=("100.96.0.0/29",))
    try:
        world.tick()
        devices = [world.device(f"d{n}", user=f"u{n}").connect() for n in range(5)]
        late = world.device("late", user="late")
        late.begin()
        late.report()
        refused(late.ask_credential(), 503, "no-address")
        assert all(device.reach for device in devices)
    finally:
        world.close()
