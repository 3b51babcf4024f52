"""The agent alone, installed as somebody installs it: the wheel and one package with what it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from agent.collect import Collection
from agent.wire import AGENT_VERSION
from tests.unit.agent.test_install import ROOT, base_requirements, closure, normal, wheel, wheel_metadata

__all__ = ["wheel"]  # the fixture


def test_the_agent_alone_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and the locked packages that it needs: versions and hashes as locked."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    (tmp_path / "agent.lock").write_text(locked_for(closure(base_requirements(wheel_metadata(wheel)))))
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(tmp_path / "agent.lock")], check=True, timeout=240)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([str(python), "-m", "pip", "check"], check=True, capture_output=True)

    command = str(python.with_name("sallyport-agent"))
    said = subprocess.run([command, "--version"], cwd="/", capture_output=True, text=True, check=True).stdout
    assert said == f"sallyport-agent {AGENT_VERSION}\n"
    facts = json.loads(
        subprocess.run([command, "report", "--print"], cwd="/", capture_output=True, text=True, check=True).stdout
    )
    assert set(facts) == Collection().facts
    assert facts["agent.version"]["value"] == AGENT_VERSION
    assert facts["os.family"]["value"] == "linux"


def locked_for(names: set[str]) -> str:
    """The part of requirements.lock for these packages."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text())
    return "".join(block for block in blocks if normal(re.split(r"[=\[ ]", block)[0]) in names)
