"""The wheel with and without a Rust toolchain, and the tunnel when the native transforms are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import BUILT

ROOT = Path(__file__).parents[3]
TUNNEL = [sys.executable, "-m", "gateway.tunnel"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a wheel is built from, without anything that was built here."""
    copy = tmp_path / "tree"
    left_out = shutil.ignore_patterns("target", "*.so", "__pycache__", "node_modules")
    for name in ("gateway", "agent", "policies"):
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def test_without_a_toolchain_the_wheel_is_pure_python(tree: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(
        command, cwd=tree, env={**os.environ, "PATH": "/usr/bin-without-cargo"}, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith(".so")]
    assert "gateway/wireguard/transforms/reference.py" in names
    assert "gateway/_policies/demo/demo.yaml" in names


def test_a_toolchain_that_fails_is_said_and_leaves_a_pure_wheel(tree: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "cargo").write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho no crates today >&2\nexit 101\n")
    (tools / "cargo").chmod(0o755)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    assert "native transforms are left out, cargo failed:\nno crates today" in done.stderr
    assert [wheel.name.endswith("-py3-none-any.whl") for wheel in tmp_path.glob("*.whl")] == [True]


def test_a_cargo_without_a_toolchain_behind_it_counts_as_none(tree: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "cargo").write_text("#!/bin/sh\necho no toolchain >&2\nexit 1\n")
    (tools / "cargo").chmod(0o755)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    assert "left out" not in done.stderr
    assert [wheel.name.endswith("-py3-none-any.whl") for wheel in tmp_path.glob("*.whl")] == [True]


def test_without_the_native_module_the_tunnel_takes_the_reference() -> None:
    hidden = "import sys; sys.modules['gateway.native._transforms'] = None; from gateway.tunnel.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-c", hidden + "sys.exit(main(['--version']))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("(transforms: python)\n")


def test_native_transforms_that_are_asked_for_and_not_built_are_an_error_in_one_line() -> None:
    hidden = "import sys; sys.modules['gateway.native._transforms'] = None; from gateway.tunnel.__main__ import main; "
    done = subprocess.run(
        ["env", "SALLYPORT_TRANSFORMS=native", sys.executable, "-c", hidden + "sys.exit(main(['wg0']))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: the native transforms are not built: run make native, or unset SALLYPORT_TRANSFORMS\n"


def test_where_the_module_is_built_it_is_the_one_in_use() -> None:
    done = subprocess.run([*TUNNEL, "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"(transforms: {'native' if BUILT else 'python'})\n")
