"""`sallyport policy init`: a sound and tested policy to begin with, which never overwrites anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.policy.load import load_policy
from gateway.policy.schema import json_schema
from gateway.policy.suite import fixtures_beside, load_fixtures
from gateway.policy.trial import hold

POLICIES = Path(__file__).parents[3] / "policies"
FILES = {
    "acme/access.yaml", "acme/checks.yaml", "acme/policy.yaml", "schema.json",
    "tests/acme/access.yaml", "tests/acme/posture.yaml", "tests/acme/postures.yaml",
}  # fmt: skip


def files(folder: Path) -> dict[str, str]:
    found = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text() for file in found}


def test_it_writes_a_sound_policy_of_the_folders_name_whose_fixtures_pass(tmp_path: Path) -> None:
    assert main(["policy", "init", str(tmp_path / "acme")]) == 0
    policy = load_policy(tmp_path / "acme")
    cases = load_fixtures(fixtures_beside(tmp_path / "acme"), policy)
    assert (policy.name, set(files(tmp_path))) == ("acme", FILES)
    assert [hold(policy, case).differences for case in cases] == [()] * len(cases)


def test_its_comments_and_the_schema_for_editors_come_along(tmp_path: Path) -> None:
    assert main(["policy", "init", str(tmp_path / "acme")]) == 0
    written = files(tmp_path)
    for name in ("access", "checks"):
        assert written[f"acme/{name}.yaml"] == (POLICIES / "starter" / f"{name}.yaml").read_text()
    assert all(text.startswith("# yaml-language-server: $schema=../schema.json\n") for name, text in written.items() if name.startswith("acme/"))  # fmt: skip
    assert written["schema.json"] == (POLICIES / "schema.json").read_text()
    assert json_schema()["title"] in written["schema.json"]


def test_it_says_what_it_wrote_and_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["policy", "init", "acme"]) == 0
    *wrote, hint = capsys.readouterr().out.splitlines()
    assert {line.removeprefix("wrote ") for line in wrote} == FILES
    assert hint == "next: sallyport policy test acme"


@pytest.mark.parametrize("taken", ["acme/notes.txt", "acme/policy.yaml", "tests/acme/mine.yaml", "acme", "tests/acme"])
def test_nothing_is_overwritten_and_nothing_half_written(
    tmp_path: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("mine")
    assert main(["policy", "init", str(tmp_path / "acme")]) == 1
    assert files(tmp_path) == {taken: "mine"}
    assert "is not empty, and nothing is overwritten; name another folder" in capsys.readouterr().err


def test_it_refuses_to_begin_twice(tmp_path: Path) -> None:
    assert main(["policy", "init", str(tmp_path / "acme")]) == 0
    before = files(tmp_path)
    assert main(["policy", "init", str(tmp_path / "acme")]) == 1
    assert files(tmp_path) == before


def test_an_empty_folder_may_be_there_and_a_schema_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "schema.json").write_text("{}")
    assert main(["policy", "init", str(tmp_path / "acme")]) == 0
    assert files(tmp_path)["schema.json"] == "{}"


@pytest.mark.parametrize("name", ["Acme", "a b", "-acme", "x" * 64])
def test_a_folder_that_cannot_name_a_policy_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "init", "--", str(tmp_path / name)]) == 1
    assert files(tmp_path) == {}
    assert "cannot name a policy; name the folder with a-z 0-9 . _ - alone" in capsys.readouterr().err


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["policy", "init", str(tmp_path / "file" / "acme")]) == 1
    assert files(tmp_path) == {"file": "mine"}
    assert capsys.readouterr().err.startswith("error: ")
