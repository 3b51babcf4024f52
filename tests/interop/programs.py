"""The other WireGuards that ours has to understand: Debian's wireguard-go, the newest one, and boringtun.

The last two are built once, by `python -m tests.interop.programs` as part of `make test`, where Go and cargo are; their
tests are left out where they are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "bench" / "programs"
"""Not committed. `make bench` uses the same."""
SOURCES = {
    "wireguard-go-newest": (FOLDER / "wireguard", ["go", "install", "golang.zx2c4.com/wireguard@latest"]),
    "boringtun": (
        FOLDER / "bin" / "boringtun-cli",
        ["cargo", "install", "--quiet", "boringtun-cli", "--root", str(FOLDER)],
    ),
}
BUILT = [name for name, (path, _) in SOURCES.items() if path.exists()]
COMMANDS = {
    "wireguard-go-newest": [str(FOLDER / "wireguard")],
    "boringtun": [str(FOLDER / "bin" / "boringtun-cli"), "--disable-drop-privileges"],
}


def build() -> None:
    """Build what is missing; say what cannot be."""
    FOLDER.mkdir(exist_ok=True)
    for name, (path, command) in SOURCES.items():
        if path.exists():
            continue
        print(f"building {name} for the tests", file=sys.stderr)
        environment = {**os.environ, "GOBIN": str(FOLDER)}
        try:
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{name} cannot be built, the tests against it are left out: {error}", file=sys.stderr)


if __name__ == "__main__":
    build()
