"""Builds the native transforms into the wheel where cargo is installed; without it the wheel is pure Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "_transforms.abi3.so"


class NativeTransforms(BuildHookInterface[Any]):
    """An editable install takes what `make native` has built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and name what was built. A build that fails is said and leaves the wheel as it is without one."""
        if self.target_name != "wheel" or version == "editable" or not has_cargo():
            return
        made = build(Path(self.root) / "gateway/native")
        if made is not None:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["force_include"][str(made)] = f"gateway/native/{MODULE}"
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"


def has_cargo() -> bool:
    """Whether there is a cargo that works: rustup's stand-in without a toolchain is none."""
    try:
        return subprocess.run(["cargo", "--version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def build(folder: Path) -> Path | None:
    """Build the crate in `folder`. Gives the module, or None after saying why there is none."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(folder / "Cargo.toml")]
    environment = {"PYO3_PYTHON": sys.executable}
    done = subprocess.run(
        ["env", *(f"{k}={v}" for k, v in environment.items()), *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"native transforms are left out, cargo failed:\n{done.stderr}", file=sys.stderr)
        return None
    made = folder / MODULE
    fresh = made.with_suffix(".new")
    shutil.copyfile(folder / "target/release/lib_transforms.so", fresh)
    fresh.replace(made)  # a running process keeps the module that it has mapped
    return made


if __name__ == "__main__":
    sys.exit(0 if build(Path(__file__).parent) else 1)
