"""A policy of several files and folders: what is included, in whatever order, and what a policy may not reach for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyError
from gateway.policy.load import assemble, load_policy, loads, texts
from tests.unit.policy.laptop import POLICY

MAIN = POLICY[: POLICY.index("checks:")]
CHECKS = POLICY[POLICY.index("checks:") :]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policies" / "office"
    (made.parent / "common").mkdir(parents=True)
    made.mkdir()
    return made


def found(folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    return [problem.text for problem in caught.value.problems]


def test_a_file_and_a_folder_are_included_and_mean_what_one_file_means(folder: Path) -> None:
    (folder / "main.yaml").write_text(MAIN + "include: [../common, more/extra.yaml]\n")
    (folder.parent / "common" / "checks.yaml").write_text(CHECKS)
    (folder / "more").mkdir()
    (folder / "more" / "extra.yaml").write_text(
        "limits: [{groups: [guests], rate: 1Mbit}]\ninclude: [../main.yaml, ../../common]\n"
    )
    policy = load_policy(folder)
    assert policy.version == loads(POLICY + "limits: [{groups: [guests], rate: 1Mbit}]\n", "one.yaml").version
    assert assemble(texts(folder)).version == policy.version
    assert sorted(texts(folder)) == ["../common/checks.yaml", "main.yaml", "more/extra.yaml"]


def test_what_is_included_twice_counts_once(folder: Path) -> None:
    (folder / "main.yaml").write_text(MAIN + "include: [../common, ../common/checks.yaml, checks.yaml]\n")
    (folder.parent / "common" / "checks.yaml").write_text(CHECKS)
    (folder / "checks.yaml").symlink_to(folder.parent / "common" / "checks.yaml")
    assert set(load_policy(folder).checks) == {"firewall", "antivirus", "patched", "banned", "swap"}


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("../../secret.yaml", "is outside of policies, the folder around the policy"),
        ("out.yaml", "is outside of policies, the folder around the policy"),
        ("/etc/passwd", "is not what can be included"),
        ("../common/notes.txt", "is not there; allowed is a file *.yaml or a folder of them"),
        ("nothing.yaml", "is not there; allowed is a file *.yaml or a folder of them"),
        ("../empty", "holds 0 policy files"),
    ],
)
def test_what_cannot_be_included_is_a_problem_with_its_place(folder: Path, named: str, told: str) -> None:
    (folder.parents[1] / "secret.yaml").write_text("secret: 1\n")
    (folder / "out.yaml.link").symlink_to(folder.parents[1] / "secret.yaml")
    (folder.parent / "common" / "notes.txt").write_text("x")
    (folder.parent / "empty").mkdir()
    if named == "out.yaml":
        named = "../common/out.yaml"
        (folder.parent / "common" / "out.yaml").symlink_to(folder.parents[1] / "secret.yaml")
    (folder / "main.yaml").write_text(POLICY + f"include: [{named}]\n")
    assert any(told in text for text in found(folder)), found(folder)


def test_a_text_includes_nothing() -> None:
    with pytest.raises(PolicyError, match="this policy is a text and not a file"):
        loads(POLICY + "include: [more.yaml]\n", "text.yaml")
