"""The programs that are compared: ours with either transforms, and the peers, built or installed on first use."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.demo.namespaces import Host
from gateway.programs import Program
from tests.interop import ends
from tests.interop.ends import End, until

FOLDER = Path(__file__).parent / "programs"
"""Built peers; not committed."""
WIREGUARD_GO = "golang.zx2c4.com/wireguard@latest"
OURS = [str(Path(sys.executable).with_name("sallyport-tunnel"))]


def available() -> dict[str, str]:
    """Build or install what can be, and give name and version of every program that is there."""
    FOLDER.mkdir(exist_ok=True)
    ends.PROGRAMS.update(
        {
            "native": ["env", "SALLYPORT_TRANSFORMS=native", *OURS],
            "python": ["env", "SALLYPORT_TRANSFORMS=python", *OURS],
            "wireguard-go-newest": [str(FOLDER / "wireguard")],
            "boringtun": [str(FOLDER / "bin/boringtun-cli"), "--disable-drop-privileges"],
        }
    )
    found = {}
    for name, look in _LOOKS.items():
        try:
            found[name] = look()
        except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name} is absent, the benchmark goes on without it ({error})", file=sys.stderr)
    return found


def _ours(name: str) -> Callable[[], str]:
    return lambda: _output(*ends.PROGRAMS[name], "--version")


def _wireguard_go() -> str:
    if not (FOLDER / "wireguard").exists():
        _run("go", "install", WIREGUARD_GO, GOBIN=str(FOLDER))
    modules = _output("go", "version", "-m", str(FOLDER / "wireguard")).splitlines()
    return next(line.split()[2] for line in modules if line.split()[:1] == ["mod"])


def _boringtun() -> str:
    if not (FOLDER / "bin/boringtun-cli").exists():
        _run("cargo", "install", "--quiet", "boringtun-cli", "--root", str(FOLDER))
    return _output(str(FOLDER / "bin/boringtun-cli"), "--version")


def _openvpn() -> str:
    if shutil.which("openvpn") is None:
        _run("apt-get", "install", "-y", "-q", "--no-install-recommends", "openvpn", DEBIAN_FRONTEND="noninteractive")
    return subprocess.run(["openvpn", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()[0]


_LOOKS: dict[str, Callable[[], str]] = {
    "native": _ours("native"),
    "python": _ours("python"),
    "wireguard-go-newest": _wireguard_go,
    "boringtun": _boringtun,
    "openvpn": _openvpn,
}


def _run(*command: str, **environment: str) -> None:
    print(f"getting ready: {' '.join(command)}", file=sys.stderr)
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=600)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@contextlib.contextmanager
def tunnel(one: str, other: str) -> Iterator[tuple[Host, Host, str]]:
    """Two hosts joined by a tunnel of these programs: both hosts, and the inner address of the second."""
    if one == "openvpn":
        with _openvpn_pair() as made:
            yield made
        return
    with ends.pair(one, other) as (first, second):
        first.ping(second, 4)
        yield first.host, second.host, second.inner(4)


@contextlib.contextmanager
def _openvpn_pair() -> Iterator[tuple[Host, Host, str]]:
    """OpenVPN 2.6 in its userspace form, AES-256-GCM, on the same two hosts."""
    with ends.pair("native", "native") as (first, second), contextlib.ExitStack() as stack:
        prints = {end.number: _certificate(end) for end in (first, second)}
        for end, peer, role in ((second, first, "--tls-server"), (first, second, "--tls-client")):
            command = [
                "openvpn",
                "--dev",
                "ovpn",
                "--dev-type",
                "tun",
                "--proto",
                "udp",
                "--port",
                "1194",
                "--disable-dco",
            ]
            command += ["--ifconfig", f"10.98.0.{end.number}", f"10.98.0.{peer.number}", role, "--dh", "none"]
            command += ["--cert", f"/tmp/{end.interface}.crt", "--key", f"/tmp/{end.interface}.key"]
            command += ["--peer-fingerprint", prints[peer.number], "--data-ciphers", "AES-256-GCM", "--verb", "3"]
            command += ["--remote", peer.outer(4)] if role == "--tls-client" else []
            program = Program("openvpn", command, within=end.host.command())
            stack.callback(program.end)
        program.wait_for("Initialization Sequence Completed", timeout=30)
        until(lambda: _pings(first.host, "10.98.0.2"), "OpenVPN")
        yield first.host, second.host, "10.98.0.2"


def _certificate(end: End) -> str:
    base = f"/tmp/{end.interface}"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _run("openssl", "req", "-x509", *curve, "-nodes", "-subj", "/CN=x", "-keyout", f"{base}.key", "-out", f"{base}.crt")
    return _output("openssl", "x509", "-in", f"{base}.crt", "-noout", "-fingerprint", "-sha256").partition("=")[2]


def _pings(host: Host, address: str) -> bool:
    return subprocess.run(host.command("ping", "-c1", "-W1", address), capture_output=True, check=False).returncode == 0
