"""The walls of the design, checked as tests: layers, pure cores, one reader of the environment, names that say something."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for top in ("gateway", "agent") for p in (ROOT / top).rglob("*.py") if "migrations" not in p.parts)
PURE = [p for p in SOURCES if p.parts[len(ROOT.parts) + 1] in ("wireguard", "packet", "policy")] + [
    ROOT / "agent/wire.py"
]


def test_the_import_contracts_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", PURE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_core_reads_no_clock_and_no_randomness(path: Path) -> None:
    called = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    forbidden = {
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "os.urandom",
        "os.environ",
        "os.getenv",
    }
    assert not called & forbidden


def test_only_the_settings_and_the_drop_in_for_wireguard_go_read_the_environment_of_the_gateway() -> None:
    readers = {
        str(p.relative_to(ROOT))
        for p in SOURCES
        if p.parts[len(ROOT.parts)] == "gateway" and re.search(r"os\.environ\b(?!`)|os\.getenv", p.read_text())
    }
    assert readers == {"gateway/settings.py", "gateway/tunnel/__main__.py"}  # the latter: WG_PROCESS_FOREGROUND


def test_files_are_named_for_a_concept() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "handlers"}
    assert not [p for p in SOURCES if p.stem in vague]
