"""The commands in policies/README.md print what stands below them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
README = ROOT / "policies/README.md"


def test_every_command_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    written = re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(written) == 6
    assert [_played(block, tmp_path) for block in written] == written


def _played(block: str, folder: Path) -> str:
    """Run the commands of a block, and write it again with what they print."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    lines = []
    for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        lines.append(f"$ {command}\n{done.stdout}{done.stderr}")
    return "".join(lines)
