"""`sallyport policy plan` and `snapshot`: the blast radius on a fleet of real sessions, and what a pipeline gates on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.access import api_tokens
from gateway.access.administrators import Role
from gateway.store.engine import writing
from tests.sim.gateway import HEALTHY, POLICY, World

STRICTER = POLICY.replace("enabled: true, otherwise: quarantine", "enabled: true, otherwise: denied").replace(
    "security_pending: 0, otherwise: limited, grace: 10m",
    "security_pending: 0, otherwise: quarantine, severity: explicit",
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Alice is healthy, bob has no firewall, carol misses an update; dave has left."""
    world = World(tmp_path)
    world.tick()
    world.device("alices", user="alice").connect()
    world.device("bobs", user="bob", groups=()).connect({"firewall.enabled": False})
    world.device("carols", user="carol").connect({"patches.security_pending": 2})
    world.device("daves", user="dave").connect().leave()
    monkeypatch.setenv("SALLYPORT_DATABASE_URL", f"sqlite:///{tmp_path}/sallyport.db")
    monkeypatch.setenv("SALLYPORT_STATE_DIR", str(tmp_path))
    yield world
    world.close()


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "policy.yaml").write_text(STRICTER)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = main(["policy", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def snapshot(capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    """The fleet as it stands; the real clock is not the world's, so leases are over when it is planned live."""
    file = folder / "fleet.jsonl"
    status, said = run(capsys, "snapshot", file)
    assert (status, said) == (0, f"wrote {file}: 3 live sessions\n")
    return file


def at(file: Path, world: World) -> Path:
    """Say that the snapshot was taken at the world's time."""
    head, *rest, end = file.read_text().splitlines()
    moved = [json.dumps({**json.loads(head), "at": world.clock.time.isoformat()})]
    for line in rest:
        members = json.loads(line)
        members["question"]["at"] = world.clock.time.isoformat()
        moved.append(json.dumps({**members, "over": False}))
    file.write_text("\n".join([*moved, end]) + "\n")
    return file


def test_a_plan_names_who_loses_what_by_which_check(
    world: World, stricter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = at(snapshot(capsys, tmp_path), world)
    status, said = run(capsys, "plan", stricter, "--against", file)
    version = json.loads(run(capsys, "check", stricter, "--json")[1])["version"]
    assert status == 0
    assert said == (
        f"plan of corporate {version[:12]} against {file} of 2026-11-24 12:00:00 UTC: 3 sessions\n"
        "  killed           1   of 1 user on 1 device\n"
        "  downgraded       1   of 1 user on 1 device\n"
        "  restored         0\n"
        "  changed          0\n"
        "  unchanged        1\n"
        "  ending           0   by themselves, whatever the policy\n"
        "by check\n"
        "  firewall-on: killed 1, downgraded 0\n"
        "  patched: killed 0, downgraded 1\n"
        "out of reach\n"
        "  payroll: for 1 session of 1 user\n"
        "  remediation: for 1 session of 1 user\n"
        "  wiki: for 1 session of 1 user\n"
        "killed\n"
        "  bob on bobs: quarantine -> denied by firewall-on, without remediation\n"
        "downgraded\n"
        "  carol on carols: full -> quarantine by patched, without payroll, wiki\n"
    )


def test_a_pipeline_gates_on_numbers_and_shares(
    world: World, stricter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = at(snapshot(capsys, tmp_path), world)
    status, said = run(capsys, "plan", stricter, "--against", file, "--max-killed", "0", "--max-downgraded", "34%")
    assert status == 1
    assert said.endswith("EXCEEDED at most 0 killed: 1 of 3\nok       at most 34% downgraded: 1 of 3\n")
    status, said = run(capsys, "plan", stricter, "--against", file, "--json", "--max-killed", "1")
    told: dict[str, Any] = json.loads(said)
    assert (status, told["ok"]) == (0, True)
    assert told["counts"] == {
        "killed": 1, "downgraded": 1, "restored": 0, "changed": 0, "unchanged": 1, "ending": 0,
    }  # fmt: skip
    carol = next(move for move in told["moves"] if move["user"] == "carol")
    assert (carol["effect"], carol["by"], carol["explicit"]) == ("downgraded", ["patched"], True)
    assert run(capsys, "plan", stricter, "--against", file, "--max-downgraded", "33%")[0] == 1


def test_the_policy_of_the_fleet_changes_nothing_and_tells_the_graces(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "policy.yaml").write_text(POLICY)
    file = at(snapshot(capsys, tmp_path), world)
    said = run(capsys, "plan", tmp_path / "same", "--against", file, "--max-killed", "0", "--max-downgraded", "0")
    assert said[0] == 0
    assert "  unchanged        3\n" in said[1]
    assert "in grace\n  patched: 1 session until 2026-11-24 12:10 UTC, then limited\n" in said[1]


def test_a_live_plan_reads_the_database_of_the_settings(
    world: World, stricter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(run(capsys, "plan", stricter, "--json")[1])
    assert (told["against"], told["sessions"]) == ("live", 3)
    monkeypatch.setenv("SALLYPORT_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    status, said = run(capsys, "plan", stricter)
    assert status == 1
    assert f"error: there is no database {tmp_path}/other.db" in said


def test_a_snapshot_overwrites_nothing_and_is_for_its_owner_alone(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = snapshot(capsys, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert HEALTHY.keys() <= json.loads(file.read_text().splitlines()[1])["question"]["posture"]["facts"].keys()
    assert run(capsys, "snapshot", file)[0] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1 is not a JSON object"),
        ("[]\n", "line 1 is not a JSON object"),
        ('{"format": "tar"}\n', "line 1 is not the head of a snapshot"),
        (
            '{"format": "sallyport fleet 1", "at": "2026-11-24T12:00:00+00:00"}\nrubbish\n',
            "line 2 is not a JSON object",
        ),
        ('{"format": "sallyport fleet 1", "at": "2026-11-24T12:00:00+00:00"}\n{}\n', "line 2 is not a session"),
        ('{"format": "sallyport fleet 1", "at": "yesterday"}\n', "Invalid isoformat string"),
        ('{"format": "sallyport fleet 1"}\n', "line 1"),
        ('{"format": "sallyport fleet 1", "at": "2026-11-24T12:00:00+00:00"}\n', "line 1 is not the end of a whole"),
        ('{"format": "sallyport fleet 1", "at": "2026-11-24T12:00:00+00:00"}\n{"end": 1}\n', "line 2 is not the end"),
        ("\x00\x01" * 1000, "line 1 is not a JSON object"),
    ],
)
def test_rubbish_in_place_of_a_snapshot_is_one_error(
    stricter: Path, tmp_path: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rubbish").write_text(text)
    status, said = run(capsys, "plan", stricter, "--against", tmp_path / "rubbish")
    assert status == 1
    assert said.startswith(f"error: {tmp_path}/rubbish: ")
    assert told in said


@pytest.mark.parametrize("limit", ["", "-1", "101%", "nan%", "1e3", "5 %", "many", "1_0%", "½"])
def test_a_limit_that_is_none_is_a_wrong_call(stricter: Path, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["policy", "plan", str(stricter), f"--max-killed={limit}"])
    assert "allowed is a number of sessions or a share, for example 0, 12 or 2.5%" in capsys.readouterr().err


def test_a_snapshot_that_was_cut_is_not_planned_against(
    world: World, stricter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = snapshot(capsys, tmp_path)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
    status, said = run(capsys, "plan", stricter, "--against", file, "--max-killed", "0")
    assert status == 1
    assert "is not the end of a whole snapshot" in said


def test_a_pipeline_has_the_snapshot_by_an_api_token(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(world.engine) as db:
        made = {"name": "ci", "role": Role.AUDITOR, "lifetime": timedelta(days=30), "by": "carol"}
        _, secret = api_tokens.create(db, **made, now=world.clock.time, entropy=world.entropy)  # type: ignore[arg-type]
    token = tmp_path / "token"
    token.write_text(f"{secret}\n")

    def client(**given: Any) -> Any:
        browser = world.new_browser()
        browser.headers.update(given["headers"])
        return browser

    monkeypatch.setattr("gateway.cli.fleet.httpx2.Client", client)
    file = tmp_path / "fetched.jsonl"
    asked = ("snapshot", file, "--from", "https://gateway.example", "--token-file", token)
    assert run(capsys, *asked) == (0, f"wrote {file}: 3 live sessions\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 5
    token.write_text("wrong")
    file.unlink()
    status, said = run(capsys, *asked)
    assert status == 1
    assert said.startswith("error: https://gateway.example answers 401: ")
    assert not file.exists()
