"""The Debian package of the agent, made from this tree and the locked packages that are installed here: no network needed.

`python -m agent.package.debian FOLDER` writes sallyport-agent_VERSION_ARCHITECTURE.deb there and prints its path. What the
agent needs beside Debian's Python travels with it in /usr/lib/sallyport-agent, because Debian's cryptography is older
than the floor; /usr/bin/sallyport-agent runs nothing else.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from agent.__main__ import parser
from agent.package import documents
from agent.wire import AGENT_VERSION

TREE = Path(__file__).parents[2]
LIBRARY = "usr/lib/sallyport-agent"
CONTROL = """Package: sallyport-agent
Version: {version}
Architecture: {architecture}
Maintainer: Sallyport <security@sallyport.invalid>
Section: net
Priority: optional
Installed-Size: {size}
Depends: python3 (>= {python}), python3 (<< {next_python}), iproute2, nftables, util-linux
Recommends: wireguard-tools, wireguard-go, systemd
Description: posture and identity agent of the Sallyport gateway
 Reports what state this machine is in, keeps its tunnel up, and keeps what
 belongs into the tunnel from leaking.
"""
LAUNCHER = f"""#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/{LIBRARY}")
sys.dont_write_bytecode = True
from agent.__main__ import main

sys.exit(main())
"""
SCRIPTS = {
    "postinst": """#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable --now sallyport-agent.service || true
fi
""",
    "prerm": """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
  systemctl stop sallyport-agent.service || true
  [ "$1" != remove ] || systemctl disable sallyport-agent.service || true
fi
if [ "$1" = remove ]; then
  /usr/bin/sallyport-agent down || true
fi
""",
    "postrm": """#!/bin/sh
set -e
if [ "$1" = purge ]; then
  rm -rf /var/lib/sallyport-agent /run/sallyport-agent
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload
""",
}


def build(folder: Path) -> Path:
    """Build the package. Gives its path."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        _fill(root)
        _control(root)
        made = folder / f"sallyport-agent_{AGENT_VERSION}_{architecture()}.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", str(root), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return made


def architecture() -> str:
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _fill(root: Path) -> None:
    library = root / LIBRARY
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "package")
    shutil.copytree(TREE / "agent", library / "agent", ignore=ignored)
    for name in needed({"cryptography"}):
        _vendor(name, library)
    launcher = root / "usr/bin/sallyport-agent"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    unit = root / "lib/systemd/system/sallyport-agent.service"
    unit.parent.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("sallyport-agent.service"), unit)
    _documents(root)


def _documents(root: Path) -> None:
    places = {
        ".1": "usr/share/man/man1/sallyport-agent.1",
        ".bash": "usr/share/bash-completion/completions/sallyport-agent",
        ".zsh": "usr/share/zsh/vendor-completions/_sallyport-agent",
        ".fish": "usr/share/fish/vendor_completions.d/sallyport-agent.fish",
    }
    for ending, make in documents.DOCUMENTS.items():
        place = root / places[ending]
        place.parent.mkdir(parents=True)
        place.write_text(make(parser()))
    licence = root / "usr/share/doc/sallyport-agent/copyright"
    licence.parent.mkdir(parents=True)
    shutil.copyfile(TREE / "LICENSE", licence)


def _control(root: Path) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    following = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
    values = {"version": AGENT_VERSION, "architecture": architecture(), "size": size}
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(CONTROL.format(**values, python=python, next_python=following))
    for name, text in SCRIPTS.items():
        script = root / "DEBIAN" / name
        script.write_text(text)
        script.chmod(0o755)


def needed(names: Iterable[str]) -> set[str]:
    """These distributions and what they need in turn, as it is installed here."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        for line in metadata.distribution(name).requires or ():
            required = re.match(r"[\w.-]+", line)
            if "extra ==" not in line and required is not None and _installed(required[0]):
                waiting |= {required[0]} - found
    return found


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _vendor(name: str, library: Path) -> None:
    """Copy what a distribution has installed, its licences included; no scripts and no bytecode."""
    distribution = metadata.distribution(name)
    for file in distribution.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        target = library / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(distribution.locate_file(file)), target)


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
