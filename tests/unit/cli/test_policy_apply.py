"""`sallyport policy apply` and `breaker`: signed, whole, in stages, never a lock-out, and never a mass cut that nobody asked for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlmodel import select

from gateway.__main__ import main
from gateway.access import administrators, policies
from gateway.access.policies import Applied, signers_of
from gateway.policy.load import loads
from gateway.policy.stage import Budget
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web.login import ADMIN_COOKIE
from tests.sim.gateway import FULL, LIMITED, POLICY, QUARANTINE, START, Device, World

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRICT = POLICY.replace(
    "security_pending: 0, otherwise: limited, grace: 10m", "security_pending: 0, otherwise: quarantine"
)
EXPLICIT = POLICY.replace("otherwise: limited, grace: 10m", "otherwise: quarantine, severity: explicit")
LAX = POLICY.replace("enabled: true, otherwise: quarantine", "enabled: true, warn: true")
NOTHING = POLICY.replace("groups: [everyone]", "groups: [nobody]")
BUDGET = Budget(share=20, window=timedelta(minutes=10), floor=2)
FACTS = {"patches.security_pending": 1}


class Evening:
    """The world's clock, for what reads a clock at the edge."""

    world: World

    @classmethod
    def now(cls, _zone: Any) -> datetime:
        return cls.world.clock.time


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path)
    (tmp_path / "signers").write_text(
        f"carol {KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}\n"
    )
    key = tmp_path / "key"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    folder(tmp_path, "folder", POLICY)
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path}/sallyport.db",
        "STATE_DIR": str(tmp_path),
        "POLICY_SIGNERS": str(tmp_path / "signers"),
        "POLICY_DIR": str(tmp_path / "folder"),
        "BREAKER_FLOOR": "2",
    }.items():
        monkeypatch.setenv(f"SALLYPORT_{name}", value)
    monkeypatch.setattr("gateway.cli.apply.datetime", Evening)
    Evening.world = world
    with writing(world.engine) as db:
        policies.keep(db, loads(POLICY, "p.yaml"), {"p.yaml": POLICY.encode()}, now=START)
    serve(world, tmp_path)
    yield world
    world.close()


def serve(world: World, tmp_path: Path) -> None:
    """A gateway that takes signed policies, as after a start."""
    world.deployment = replace(world.deployment, applied=Applied(signers_of(tmp_path / "signers"), BUDGET))
    world.browser = world.new_browser()
    world.tick()


def folder(tmp_path: Path, name: str, text: str) -> Path:
    made = tmp_path / name
    made.mkdir(exist_ok=True)
    (made / "p.yaml").write_text(text)
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["policy", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def apply(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, *options: str) -> tuple[int, str]:
    return run(capsys, "apply", folder(tmp_path, "new", text), "--key", tmp_path / "key", *options)


def fleet(world: World, count: int, facts: dict[str, Any] | None = None) -> list[Device]:
    return [world.device(f"d{n}", user=f"u{n}").connect(facts) for n in range(count)]


def audited(world: World, event: str) -> list[tables.Audit]:
    with reading(world.engine) as db:
        return list(db.exec(select(tables.Audit).where(tables.Audit.event == event)).all())


def test_an_applied_policy_judges_live_sessions_within_a_tick_and_says_who_applied_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = world.device("a", user="alice").connect(FACTS), world.device("b", user="bob").connect()
    status, said = apply(capsys, tmp_path, STRICT, "--note", "CVE-2026-1")
    assert status == 0, said
    assert said.startswith("applied as number 1; gateways take it within a second\nplan of corporate ")
    assert alice.reach == FULL
    world.tick()
    assert (alice.reach, bob.reach) == (QUARANTINE, FULL)
    row = audited(world, "policy.applied")[0]
    assert (row.actor, row.details["note"], row.details["plan"]["downgraded"]) == ("carol", "CVE-2026-1", 1)
    assert row.details["key"].startswith("SHA256:")


def test_a_gateway_that_starts_later_has_the_same_policy(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(capsys, tmp_path, STRICT)
    world.deployment = world.deploy(loads(POLICY, "p.yaml"))
    serve(world, tmp_path)
    assert world.device("a").connect(FACTS).reach == QUARANTINE


def test_without_allowed_signers_the_folder_is_in_force(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(capsys, tmp_path, STRICT)
    world.restart()
    assert world.device("a").connect(FACTS).reach == FULL


@pytest.mark.parametrize("change", ["signature", "texts", "share", "key"])
def test_what_was_written_past_the_signature_is_not_taken_and_the_last_good_one_stays(
    world: World, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(capsys, tmp_path, STRICT)
    world.tick()
    apply(capsys, tmp_path, LAX)
    with writing(world.engine) as db:
        row = db.get(tables.Application, 2)
        assert row is not None
        if change == "texts":
            kept = db.get(tables.PolicyText, row.version)
            assert kept is not None
            kept.files = {"p.yaml": LAX.replace("running: true, otherwise: limited", "running: true, warn: true")}
        elif change == "share":
            row.share = 50
        elif change == "key":
            (tmp_path / "signers").write_text("# nobody\n")
        else:
            row.signature = row.signature.replace("A", "B", 1)
    if change == "key":
        serve(world, tmp_path)
        assert world.deployment.in_force.number == 0
        return
    world.tick()
    assert world.deployment.in_force.number == 1
    assert world.device("a").connect({"firewall.enabled": False}).reach == QUARANTINE


def test_a_manifest_can_be_signed_by_ssh_keygen_elsewhere(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = folder(tmp_path, "new", STRICT)
    manifest = tmp_path / "manifest"
    manifest.write_text(run(capsys, "apply", new, "--print-manifest")[1])
    signed = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(tmp_path / "key"), "-n", "sallyport-policy", str(manifest)]
    subprocess.run(signed, check=True, capture_output=True)
    assert run(capsys, "apply", new, "--signature", tmp_path / "manifest.sig")[0] == 0
    status, said = run(capsys, "apply", new, "--signature", tmp_path / "manifest.sig")
    assert (status, said) == (1, "error: the signature of carol is of something else\n"), "a signature is good once"


def test_refused_is_what_does_not_compile_or_breaks_a_limit_and_nothing_has_changed(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.device("a").connect(FACTS)
    status, said = apply(capsys, tmp_path, STRICT.replace("firewall, enabled", "firewall, enabeld"))
    assert status == 1
    assert "enabeld: is not a key" in said
    status, said = apply(capsys, tmp_path, STRICT, "--max-downgraded", "0")
    assert said == "error: at most 0 may be downgraded, and 1 of 1 would be\n"
    with reading(world.engine) as db:
        assert db.exec(select(tables.Application)).all() == []


def test_a_policy_that_locks_out_every_administrator_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = apply(capsys, tmp_path, NOTHING)
    assert (status, said) == (1, "error: nobody of sallyport-admins would reach anything, not even at tier full\n")
    carol = world.device("c", user="carol", groups=("sallyport-admins",)).connect(FACTS)
    status, said = apply(capsys, tmp_path, STRICT)
    assert said == "error: every administrator who is connected (1 of sallyport-admins) would be locked out\n"
    world.device("d", user="dora", groups=("sallyport-admins",)).connect()
    assert apply(capsys, tmp_path, STRICT)[0] == 0
    world.tick()
    assert carol.reach == QUARANTINE


def test_a_stage_reaches_a_group_then_a_share_then_everybody(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pilots = [world.device(f"p{n}", user=f"p{n}", groups=("pilots",)).connect(FACTS) for n in range(2)]
    others = fleet(world, 8, FACTS)
    assert apply(capsys, tmp_path, EXPLICIT, "--group", "pilots")[0] == 0
    world.tick()
    assert [device.reach for device in pilots] == [QUARANTINE] * 2
    assert [device.reach == QUARANTINE for device in others] == [False] * 8
    assert apply(capsys, tmp_path, EXPLICIT, "--group", "pilots", "--share", "50%")[0] == 0
    world.tick()
    half = [device.reach == QUARANTINE for device in others]
    assert 0 < sum(half) < 8
    assert all(device.reach == QUARANTINE for device in pilots)
    world.passes(20)
    for device in others:
        device.report(FACTS)
    assert [device.reach == QUARANTINE for device in others] == half, "always the same ones"
    assert apply(capsys, tmp_path, EXPLICIT)[0] == 0
    world.tick()
    assert all(device.reach == QUARANTINE for device in others)


def test_a_policy_that_cuts_too_many_is_held_until_an_administrator_lets_it_go_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = fleet(world, 5, FACTS)
    status, said = apply(capsys, tmp_path, STRICT)
    assert status == 0
    assert "HELD: hold 1 keeps these sessions as they are; new sessions are judged by the new policy" in said
    for _ in range(3):
        world.passes(15)
        for device in devices:
            assert device.report(FACTS).json()["tier"] == "full"
    assert [device.reach == FULL for device in devices] == [True] * 5
    newcomer = world.device("n", user="new").connect(FACTS)
    assert newcomer.reach == QUARANTINE, "a new session is judged by the new policy"
    devices[0].report({"firewall.enabled": False, **FACTS})
    held = json.loads(run(capsys, "breaker", "--json")[1])["holds"]
    assert [(hold["hold"], hold["affected"], hold["live"], hold["held"]) for hold in held] == [(1, 5, 5, 5)]
    status, said = run(capsys, "breaker", "proceed", "1")
    assert (status, said.splitlines()[0]) == (0, "hold 1 is closed: what it kept from 5 sessions takes effect now")
    world.tick()
    assert [device.reach == QUARANTINE for device in devices] == [True] * 5
    assert run(capsys, "breaker") == (0, "nothing is held\n")
    assert [row.event for row in (*audited(world, "breaker.opened"), *audited(world, "breaker.closed"))] == [
        "breaker.opened",
        "breaker.closed",
    ]
    assert len(audited(world, "session.held")) == 5
    assert run(capsys, "breaker", "proceed", "1")[0] == 1


def test_an_explicit_fact_is_never_held(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices = fleet(world, 5, FACTS)
    assert "HELD" not in apply(capsys, tmp_path, EXPLICIT)[1]
    world.tick()
    assert all(device.reach == QUARANTINE for device in devices)


def test_another_policy_takes_the_place_of_one_that_is_held(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = fleet(world, 5, FACTS)
    apply(capsys, tmp_path, STRICT)
    world.tick()
    assert apply(capsys, tmp_path, POLICY)[0] == 0
    world.tick()
    assert run(capsys, "breaker") == (0, "nothing is held\n")
    assert all(device.reach == FULL for device in devices)
    with reading(world.engine) as db:
        assert {row.held_by for row in db.exec(select(tables.Session)).all()} == {None}


def test_a_feed_that_fails_everywhere_cuts_no_more_than_the_budget(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = fleet(world, 8)
    for device in devices:
        device.report({"antivirus.running": False})
    cut = [device.reach == LIMITED for device in devices]
    assert (sum(cut), cut[:2]) == (2, [True, True])
    devices[7].report({"antivirus.running": False, "firewall.enabled": False})
    assert devices[7].reach == QUARANTINE, "another cause besides is none of the hold's business"
    for device in devices[2:7]:
        device.report({})
    assert run(capsys, "breaker")[1] == "nothing is held\n", "the feed is back, and the hold has closed by itself"
    assert audited(world, "breaker.closed")[0].details["outcome"] == "passed"


def test_single_cuts_over_a_long_time_are_no_mass_cut(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    devices = fleet(world, 6)
    for device in devices[:3]:
        for _ in range(13):
            world.passes(40)
            for other in devices:
                other.report({"antivirus.running": False} if other.reach == LIMITED else {})
        device.report({"antivirus.running": False})
        assert device.reach == LIMITED


def test_a_held_session_still_ends_with_its_lease(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = fleet(world, 5, FACTS)
    apply(capsys, tmp_path, STRICT)
    world.tick()
    world.passes(61)
    assert [device.reach for device in devices] == [None] * 5


def test_a_machine_without_signers_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = apply(capsys, tmp_path, POLICY)
    assert status == 1
    assert "error: SALLYPORT_POLICY_SIGNERS is not set" in said


def test_an_administrator_lets_a_hold_go_on_over_http(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = fleet(world, 5, FACTS)
    apply(capsys, tmp_path, STRICT)
    world.tick()
    with writing(world.engine) as db:
        login = world.log_in("carol", ("sallyport-admins",))
        cookie = administrators.begin(
            db, login, world.deployment.management, now=world.clock.time, entropy=world.entropy
        )
    headers = {"cookie": f"{ADMIN_COOKIE}={cookie}", "x-sallyport-csrf": administrators.csrf_token(cookie)}
    held = world.browser.get("/v1/admin/holds", headers=headers).json()["holds"]
    assert [(hold["cause"][:7], hold["held"]) for hold in held] == [("policy:", 5)]
    json_type = {"content-type": "application/json"}
    answer = world.browser.post("/v1/admin/holds/1/proceed", headers={**headers, **json_type}, content=b"{}")
    assert (answer.status_code, answer.json()) == (200, {"hold": 1, "sessions": 5})
    world.tick()
    assert all(device.reach == QUARANTINE for device in devices)
    assert audited(world, "breaker.closed")[0].actor == "carol"
    for number in ("2", "x", "-1", "9" * 30):
        answer = world.browser.post(
            f"/v1/admin/holds/{number}/proceed", headers={**headers, **json_type}, content=b"{}"
        )
        assert answer.status_code == 404
