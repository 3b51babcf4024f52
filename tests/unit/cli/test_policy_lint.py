"""What `check` advises, what `test` covers and watches, what `fmt` and `lint` do to files."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml

from gateway.__main__ import main
from gateway.cli.places import shown
from gateway.errors import Problem
from gateway.policy.format import formatted
from gateway.policy.source import parse

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "policies").rglob("*.yaml"))

POLICY = """policy: odd
tiers: [full, limited, unused, quarantine, denied]
resources:
  wiki: {destinations: [10.20.0.10/32], ports: [tcp/443]}
  lan: {destinations: [10.20.0.0/16]}
  nobodys: {destinations: [10.30.0.0/16]}
  taken: {destinations: [10.40.0.0/16]}
windows:
  never-used: {zone: UTC}
access:
  - {groups: [everyone], tier: limited, resources: [wiki, taken]}
  - {groups: [staff], tier: full, resources: [wiki]}
  - {groups: [staff], tier: full, resources: [lan]}
  - {groups: [staff], tier: full, resources: [lan]}
deny:
  - {groups: [everyone], resources: [taken]}
checks:
  edr: {check: edr, running: true, otherwise: limited, platforms: [linux], fix: {windows: x}}
  fw: {check: firewall, enabled: true, otherwise: quarantine}
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = main(["policy", *map(str, arguments)])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "p.yaml").write_text(POLICY)
    return tmp_path / "odd"


def test_everything_odd_is_said_at_its_place_and_keeps_nobody_from_loading(
    odd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(capsys, "check", odd)
    file = odd / "p.yaml"
    told = [line.removeprefix(f"{file}:") for line in said.splitlines() if line.startswith(str(odd))]
    assert status == 0
    assert told == [
        "2:24: advice: tiers: nothing leads to unused, and nothing is granted at it",
        "5:3: advice: resources.lan: overlaps wiki: 10.20.0.0/16 and 10.20.0.10/32 tcp/443 let the same packets through",
        "6:3: advice: resources.nobodys: nobody reaches it: no access rule names it",
        "7:3: advice: resources.taken: nobody reaches it: it is denied to everyone",
        "9:3: advice: windows.never-used: no rule uses it",
        f"12:5: advice: access.1: adds nothing: {file}:11 gives the same already",
        f"14:5: advice: access.3: adds nothing: {file}:13 gives the same already",
        "18:3: advice: checks.edr: has no fix for linux: whoever fails it is not told what to do",
    ]
    assert run(capsys, "check", odd, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("line", "column", "under"),
    [
        ("  enabeld: true", 3, "    " + "  ^"),
        ("größe: x", 8, "    " + " " * 7 + "^"),
        ("漢字: x", 5, "    " + " " * 6 + "^"),
        ("\ttab", 2, "    " + " ^"),
    ],
)
def test_a_caret_stands_under_the_place(line: str, column: int, under: str) -> None:
    assert list(shown([Problem("f", 1, column, "is wrong", line)]))[2] == under


def test_a_caret_far_to_the_right_is_still_on_the_screen() -> None:
    _, source, caret = shown([Problem("f", 1, 950, "is wrong", "x" * 948 + ": y")])
    assert len(source) <= 114
    assert source[len(caret) - 1] == " "
    assert source[len(caret) - 2] == ":"


FIXTURES = """fixtures:
  - name: healthy staff
    user: {name: a, groups: [staff]}
    posture: {firewall.enabled: true}
    expect: {tier: limited, reachable: [wiki], unreachable: [10.20.7.7 tcp/22]}
"""


def test_coverage_names_what_no_fixture_tries(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = odd.parent / "tests" / "odd"
    beside.mkdir(parents=True)
    (beside / "f.yaml").write_text(FIXTURES)
    assert run(capsys, "test", odd)[0] == 0
    status, said = run(capsys, "test", odd, "--coverage")
    assert status == 1
    assert said == (
        "ok    healthy staff\n"
        "coverage: 0 of 2 checks fail and pass, 2 of 5 access rules are used\n"
        "  no fixture fails fw\n"
        "  no fixture passes edr\n"
        "  no fixture in which staff reaches wiki\n"
        "  no fixture in which staff reaches lan\n"
        "  no fixture in which staff reaches lan\n"
        "1 fixtures of odd: 1 as expected, 0 otherwise\n"
    )


def test_watch_mode_tries_again_when_a_file_changes(odd: Path) -> None:
    beside = odd.parent / "tests" / "odd"
    beside.mkdir(parents=True)
    (beside / "f.yaml").write_text(FIXTURES)
    command = [sys.executable, "-m", "gateway", "policy", "test", str(odd), "--watch"]
    watching = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert watching.stdout is not None
    reader = Thread(target=lines.extend, args=(iter(watching.stdout.readline, ""),), daemon=True)
    reader.start()
    try:
        _until(lambda: any(line.startswith("-- ok") for line in lines))
        (beside / "f.yaml").write_text(FIXTURES.replace("tier: limited", "tier: full"))
        _until(lambda: any(line.startswith("-- not ok") for line in lines))
        (odd / "p.yaml").write_text(POLICY.replace("tiers", "tears"))
        _until(lambda: any("tears: is not a key" in line for line in lines))
    finally:
        watching.terminate()
        watching.wait(30)
        reader.join(30)
        watching.stdout.close()


def _until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


UGLY = """\
policy:   x\r
#why
tiers: [ full,limited , denied ]   # best first
resources:
      wiki:
            destinations:
            - 10.0.0.0/8
            # the other site
            -  10.1.0.0/16


      b: {destinations:   [ 10.0.0.1/32,10.0.0.2/32 ] , ports: [tcp/80]}
access:
-   groups: [ a ]
    tier: full   \t
    resources:
    - wiki
    - b
- {groups: [b], tier: full,
   resources: [b]}
checks:
    fw:
        check: firewall
        enabled: true
        otherwise: limited
        fix: |
            do this
              and that

            then
#end
"""
FORM = """\
policy: x
# why
tiers: [full, limited, denied]   # best first
resources:
  wiki:
    destinations:
      - 10.0.0.0/8
      # the other site
      - 10.1.0.0/16

  b: {destinations: [10.0.0.1/32, 10.0.0.2/32], ports: [tcp/80]}
access:
  - groups: [a]
    tier: full
    resources:
      - wiki
      - b
  - {groups: [b], tier: full,
     resources: [b]}
checks:
  fw:
    check: firewall
    enabled: true
    otherwise: limited
    fix: |
        do this
          and that

        then
# end
"""


def test_the_canonical_form_moves_white_space_alone() -> None:
    assert formatted(UGLY.replace("\t", "")) == FORM
    assert formatted(FORM) == FORM
    assert parse(FORM.encode(), "").data == parse(UGLY.replace("\t", "").encode(), "").data


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_shipped_file_is_canonical_and_found_again_whatever_its_spacing(file: Path) -> None:
    text = file.read_text()
    assert formatted(text) == text
    for seed in range(3):
        spoilt = _spoilt(text, random.Random(seed))
        assert parse(spoilt.encode(), "").data == parse(text.encode(), "").data
        assert formatted(spoilt) == text


def _spoilt(text: str, chance: random.Random) -> str:
    """Indent everything below the top by more, and put more space where space is free."""
    more = chance.randint(1, 5)
    lines = []
    for line in text.split("\n"):
        inner = line.lstrip(" ")
        depth = len(line) - len(inner)
        code, mark, comment = inner.partition(" #")
        if any(c in code for c in "{[") and not any(c in code for c in "\"'#"):
            code = re.sub(r", ", lambda _: "," + " " * chance.randint(1, 3), code)
        lines.append(" " * (depth + more if depth else 0) + code + mark + comment + " " * chance.randint(0, 2))
    return "\n".join(lines) + "\n" * chance.randint(0, 2)


@pytest.mark.parametrize(
    "text", ["", "a: [", "a: *b", "\x00", "a: 1\na: 2\n", "- 1\n -2", "? x\n: y\n", "a: !!python/object x", "{" * 5000]
)
def test_what_is_no_policy_file_comes_back_as_it_is(text: str) -> None:
    assert formatted(text) in (text, f"{text}\n")


def test_fmt_writes_or_only_looks(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = odd / "p.yaml"
    file.write_text(POLICY.replace("policy: odd", "policy:    odd"))
    assert run(capsys, "fmt", odd, "--check") == (1, f"would format {file}\n")
    assert run(capsys, "fmt", odd) == (0, f"formatted {file}\n")
    assert file.read_text() == POLICY
    assert run(capsys, "fmt", odd, "--check") == (0, "")


def test_lint_takes_the_files_of_a_commit(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, "lint", odd / "p.yaml")
    assert status == 1
    assert said.endswith(f"{odd}: not ok\n")
    assert "advice: windows.never-used: no rule uses it" in said
    fixture = ROOT / "policies/tests/starter/access.yaml"
    assert run(capsys, "lint", fixture, ROOT / "policies/starter/access.yaml") == (0, f"{ROOT}/policies/starter: ok\n")
    (odd.parent / "compose.yaml").write_text("services: {}\n")
    assert run(capsys, "lint", odd.parent / "compose.yaml") == (0, "")


def test_lint_says_what_a_fixture_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["policy", "init", str(tmp_path / "acme")])
    checks = tmp_path / "acme" / "checks.yaml"
    checks.write_text(checks.read_text().replace("grace: 3d", "grace: 1d"))
    capsys.readouterr()
    status, said = run(capsys, "lint", checks)
    assert status == 1
    assert "a pending security update warns for three days: tier: expected full, computed limited" in said


def test_pre_commit_finds_a_hook_that_the_command_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"].split() == ["sallyport", "policy", "lint"]
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    assert re.search(hook["files"], "policies/starter/access.yaml")
