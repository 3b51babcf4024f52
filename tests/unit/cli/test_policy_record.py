"""`sallyport policy explain` and `replay` of a gateway's own record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from gateway.__main__ import main
from gateway.access import history, policies
from gateway.policy.load import loads
from gateway.policy.record import VOLATILE
from gateway.store import tables
from gateway.store.engine import reading, writing
from tests.sim.gateway import POLICY, START, World

OFF = "the firewall is off: connections from outside are accepted unless a rule forbids them"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Alice's firewall was off from noon plus 60 s to noon plus 80 s; she left at noon plus 100 s."""
    world = World(tmp_path)
    world.tick()
    keep(world, POLICY)
    alice = world.device("alices", user="alice").connect()
    for facts in ({}, {"firewall.enabled": False}, {}):
        for _ in range(2):
            world.passes(20 if facts or world.clock.time > START else 30)
            assert alice.report(facts).status_code == 200
    alice.leave()
    monkeypatch.setenv("SALLYPORT_DATABASE_URL", f"sqlite:///{tmp_path}/sallyport.db")
    monkeypatch.setenv("SALLYPORT_STATE_DIR", str(tmp_path))
    yield world
    world.close()


def keep(world: World, text: str) -> None:
    with writing(world.engine) as db:
        policies.keep(db, loads(text, "corporate.yaml"), {"corporate.yaml": text.encode()}, now=world.clock.time)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    capsys.readouterr()  # what the world's gateway has logged
    status = main(["policy", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def rows(world: World) -> list[tables.History]:
    with reading(world.engine) as db:
        return list(db.exec(select(tables.History).order_by(tables.History.sequence)).all())  # type: ignore[arg-type]


def test_the_record_has_the_changes_and_not_the_heartbeats(world: World) -> None:
    told = [(row.at - START, row.tier, sorted(row.question.get("facts", {}))) for row in rows(world)]
    assert [(at.total_seconds(), tier) for at, tier, _ in told] == [
        (0, "quarantine"),
        (0, "full"),
        (70, "quarantine"),
        (110, "full"),
    ]
    assert set(told[2][2]) - VOLATILE == {"firewall.enabled"}


def test_one_trace_id_stands_in_the_answer_the_record_and_the_audit(world: World) -> None:
    bob = world.device("bobs", user="bob").connect()
    told = bob.report({"firewall.enabled": False}).json()
    assert told["trace"] == rows(world)[-1].trace
    assert bob.report({"firewall.enabled": False}).json()["trace"] == told["trace"], "nothing changed"
    with reading(world.engine) as db:
        audit = db.exec(select(tables.Audit).where(tables.Audit.event == "session.downgraded")).all()
    assert audit[-1].details["trace"] == told["trace"]


def test_a_decision_of_the_past_is_told_as_it_was_made(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, "explain", "--user", "alice", "--device", "alices", "--at", "2026-11-24T12:01:20Z")
    assert status == 0
    assert said.startswith(
        f"decision {rows(world)[2].trace}, the same as recorded, bit for bit\nalice of finance, judged by corporate "
    )
    assert f"FAILED   -> quarantine, firewall-on: {OFF}" in said
    assert "  full, which adds payroll, wiki: repair firewall-on" in said
    again = run(capsys, "explain", "--trace", rows(world)[2].trace)
    assert again == (status, said)


def test_a_policy_that_came_later_changes_nothing_about_the_past(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(capsys, "explain", "--trace", rows(world)[2].trace, "--json")
    lax = POLICY.replace("enabled: true, otherwise: quarantine", "enabled: true, warn: true")
    keep(world, lax)
    world.restart(lax)
    assert run(capsys, "explain", "--trace", rows(world)[2].trace, "--json") == before
    assert json.loads(before[1])["reproduced"] is True


def test_a_record_that_was_changed_is_noticed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with writing(world.engine) as db:
        row = db.get(tables.History, rows(world)[2].sequence)
        assert row is not None
        facts = row.question["facts"]
        row.question = {**row.question, "facts": {"firewall.enabled": {**facts["firewall.enabled"], "value": True}}}
    status, said = run(capsys, "explain", "--trace", rows(world)[2].trace)
    assert status == 1
    assert "NOT what was recorded" in said


def test_a_live_device_is_told_as_of_now(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    bob = world.device("bobs", user="bob").connect({"antivirus.running": False})
    told: dict[str, Any] = json.loads(run(capsys, "explain", "--user", "bob", "--device", bob.id, "--json")[1])
    assert (told["reproduced"], told["trace"]) == (None, rows(world)[-1].trace)
    assert told["checks"]["antivirus-on"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--user", "alice", "--device", "bobs"), "'bobs' of 'alice' is no device of theirs; allowed are alices"),
        (("--user", "alice", "--device", "alices"), "alices has no session now; the latest was from 2026-11-24T12:00:00Z to 2026-11-24T12:02:10Z (left)"),
        (("--user", "alice", "--device", "alices", "--at", "2026-11-23T12:00:00Z"), "alices has no session 2026-11-23T12:00:00Z"),
        (("--trace", "0123456789abcdef"), "no decision 0123456789abcdef is recorded"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_error(
    world: World, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(capsys, "explain", *arguments)
    assert status == 1
    assert said.startswith(f"error: {told}")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--user", "alice"), ("--device", "x"), ("--trace", "x", "--user", "alice", "--device", "x"), ("--user", "a", "--device", "b", "--group", "c")],
)  # fmt: skip
def test_half_a_question_is_a_wrong_call(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["policy", "explain", *arguments])


def test_a_replay_says_what_another_policy_would_have_cost(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.replay.datetime", Noon)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "p.yaml").write_text(
        POLICY.replace("running: true, otherwise", 'products: ["<other>"], otherwise')
    )
    page = tmp_path / "replay.html"
    status, said = run(capsys, "replay", tmp_path / "new", "--since", "1d", "--workers", "1", "--html", page)
    assert status == 0
    assert (
        "1 sessions on 1 devices\n  killed            0 sessions\n  downgraded        1 sessions\n  lost              2 minutes"
        in said
    )
    assert "by check\n  antivirus-on: 1 session, 2 minutes\nby day\n  2026-11-24: 1 session, 2 minutes\n" in said
    assert "verdicts of other policies: 4\n" in said
    html = page.read_text()
    assert html.count("<rect ") == 2
    assert "<title>2026-11-24: 1 sessions, 2 minutes</title>" in html
    assert not re.search(r"<script|src=|https?://", html)
    assert page.stat().st_mode & 0o777 == 0o600


def test_the_same_policy_decides_again_what_it_decided(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.replay.datetime", Noon)
    world.device("bobs", user="bob").connect({"patches.security_pending": 3})
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "p.yaml").write_text(POLICY)
    status, said = run(capsys, "replay", tmp_path / "same", "--since", "1d", "--json", "--workers", "2")
    told = json.loads(said)
    assert status == 0
    assert told["verdicts"] == {"reproduced": 6, "different": 0, "of another policy": 0}
    assert (told["devices"], told["seconds_lost"]) == (2, 0)
    with writing(world.engine) as db:
        row = db.get(tables.History, rows(world)[0].sequence)
        assert row is not None
        row.digest = "0" * 64
    status, said = run(capsys, "replay", tmp_path / "same", "--since", "1d", "--workers", "1")
    assert status == 1
    assert f"verdicts of this policy: 5 of 6 reproduced bit for bit\n  different: {rows(world)[0].trace}\n" in said


def test_history_is_forgotten_by_whole_sessions_when_it_is_old(world: World) -> None:
    bob = world.device("bobs", user="bob").connect()
    with writing(world.engine) as db:
        assert history.forget(db, older_than=timedelta(days=1), now=START + timedelta(days=2)) == 1
    assert {row.device for row in rows(world)} == {bob.id}, "a live session keeps its record"


class Noon:
    """The world's evening, for what reads the clock at the edge."""

    @staticmethod
    def now(_zone: Any) -> Any:
        return START + timedelta(minutes=5)
