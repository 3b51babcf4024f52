"""The commands in policies/README.md print what stands below them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from gateway.policy import snapshot

ROOT = Path(__file__).parents[3]
README = ROOT / "policies/README.md"


def test_every_command_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    written = re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(written) == 11
    assert [_played(block, tmp_path) for block in written] == written


def test_the_steps_of_the_pipeline_gate(tmp_path: Path) -> None:
    """The example's own scripts, against an empty fleet: what holds passes, and nothing else does."""
    steps = {
        s.get("name"): s for s in yaml.safe_load((ROOT / "policies/pipeline.yml").read_text())["jobs"]["gate"]["steps"]
    }
    assert list(steps)[1:] == ["install", "check", "test", "snapshot", "plan", "comment"]
    assert _step(tmp_path, "sallyport policy init policies/acme").returncode == 0
    (tmp_path / "fleet.jsonl").write_text("".join(snapshot.lines([], at=datetime(2026, 3, 1, tzinfo=UTC))))
    for name in ("check", "test", "plan"):
        done = _step(tmp_path, steps[name]["run"])
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    assert "against" in (tmp_path / "plan.txt").read_text()
    checks = tmp_path / "policies/acme/checks.yaml"
    sound = checks.read_text()
    checks.write_text(sound.replace("grace: 3d", "grace: 1d"))
    assert [_step(tmp_path, steps[name]["run"]).returncode for name in ("check", "test", "plan")] == [0, 1, 0]
    checks.write_text(sound.replace("enabled: true", "enabeld: true"))
    assert [_step(tmp_path, steps[name]["run"]).returncode for name in ("check", "test", "plan")] == [1, 1, 1]


def _step(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    extra = {"POLICY": "policies/acme", "RUNNER_TEMP": str(folder)}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        shell, cwd=folder, env={**_environment(), **extra}, capture_output=True, text=True, check=False
    )


def _environment() -> dict[str, str]:
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": beside, "PYTHONPATH": str(ROOT)}  # this tree, whichever one is installed


def _played(block: str, folder: Path) -> str:
    """Run the commands of a block, and write it again with what they print."""
    environment = _environment()
    lines = []
    for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        lines.append(f"$ {command}\n{done.stdout}{done.stderr}")
    return "".join(lines)
