"""`sallyport up`: gateway and tunnel on this machine with embedded defaults, for someone who wants to look around.

One supervisor starts the development provider (only when no issuer is configured), the tunnel and the gateway, relays
what they say, and ends them all when one of them dies or it is told to stop.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2

from gateway.errors import HostError
from gateway.programs import Program, ended
from gateway.settings import LOOPBACK, Settings
from gateway.web import certificate

READY_WITHIN: Final = 30.0
UNBUFFERED: Final = {"PYTHONUNBUFFERED": "1"}


def configure(parser: argparse.ArgumentParser) -> None:
    """`up` takes no options: everything is a SALLYPORT_* setting."""
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM (status 0), or until a program dies (HostError)."""
    settings = Settings.from_environment()
    check_machine(settings)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs: list[Program] = []
    try:
        authority = _authority(settings)
        for name, command in _commands(settings):
            programs.append(Program(name, command, environment=UNBUFFERED, listener=_relay))
        if _wait_until_ready(settings, authority, programs, stopped):
            _say_ready(settings, authority)
        _watch(programs, stopped)
    finally:
        for program in reversed(programs):
            program.end()
    return 0


def check_machine(settings: Settings) -> None:
    """Raise HostError with one clear line for the first thing that the machine lacks."""
    if os.geteuid() != 0:
        raise HostError("the tunnel needs root: run `sudo sallyport up`")
    if shutil.which("ip") is None:
        raise HostError("ip(8) is missing: install iproute2")
    check_tun()
    for kind, (host, port), setting in _ports(settings):
        _check_free(kind, host, port, setting)


def check_tun(path: Path = Path("/dev/net/tun")) -> None:
    """Raise HostError unless the TUN device can be opened."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        reason = "is missing" if error.errno == errno.ENOENT else f"cannot be opened ({os.strerror(error.errno or 0)})"
        raise HostError(f"{path} {reason}: load the tun module, or give this container the device") from None


def _ports(settings: Settings) -> Iterator[tuple[socket.SocketKind, tuple[str, int], str]]:
    yield socket.SOCK_STREAM, settings.listen, "SALLYPORT_LISTEN"
    for each in settings.tunnel_instances:
        yield socket.SOCK_DGRAM, ("0.0.0.0", each.port), "SALLYPORT_TUNNEL_ENDPOINT"  # noqa: S104
    if settings.oidc_issuer is None:
        yield socket.SOCK_STREAM, settings.development_provider, "SALLYPORT_DEVELOPMENT_PROVIDER"


def _check_free(kind: socket.SocketKind, host: str, port: int, setting: str) -> None:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is not "taken"
        try:
            probe.bind(address)
        except OSError as error:
            raise HostError(f"cannot listen on {protocol} {host}:{port} ({error.strerror}): set {setting}") from None


def _authority(settings: Settings) -> Path | None:
    """The authority to pin when the certificate is our own; made here, so that it can be named before anything runs."""
    if settings.tls_certificate is not None:
        return None
    return certificate.ensure(settings.state_dir, settings.public_url, now=datetime.now(UTC)).authority


def _commands(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    if settings.oidc_issuer is None:
        listen = "{}:{}".format(*settings.development_provider)
        callback = f"{settings.public_url}/callback"
        module = [sys.executable, "-m", "gateway.development"]
        yield "provider", [*module, "--listen", listen, "--redirect-uri", callback]
    sallyport = [sys.executable, "-m", "gateway"]
    several = len(settings.tunnel_instances) > 1
    for number, each in enumerate(settings.tunnel_instances):
        yield each.interface if several else "tunnel", [*sallyport, "tunnel", "--instance", str(number)]
    yield "gateway", [*sallyport, "serve", "--development"]


def _relay(name: str, line: str) -> None:
    print(f"{name:8} | {line}", file=sys.stderr, flush=True)


def _wait_until_ready(
    settings: Settings, authority: Path | None, programs: list[Program], stopped: threading.Event
) -> bool:
    """True when the gateway says it is ready, False when stopped before. Raises HostError when it cannot become so."""
    deadline = time.monotonic() + READY_WITHIN
    trust = ssl.create_default_context(cafile=str(authority) if authority else None)
    with httpx2.Client(verify=trust, timeout=2.0, trust_env=False) as client:
        while not stopped.wait(0.1):
            _raise_if_ended(programs)
            if _is_ready(client, settings.public_url):
                return True
            if time.monotonic() > deadline:
                raise HostError(f"the gateway is not ready after {READY_WITHIN:.0f} s: see its lines above")
    return False


def _is_ready(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").status_code == 200
    except httpx2.HTTPError:
        return False


def _say_ready(settings: Settings, authority: Path | None) -> None:
    pin = f" --ca {authority}" if authority else ""
    print(f"ready: {settings.public_url}")
    print(f"enrol a machine: sallyport-agent enrol {settings.public_url}{pin}")
    if settings.oidc_issuer is None:
        print("NOT FOR PRODUCTION: the development provider lets anybody log in as anybody (this machine only).")
    elif settings.listen[0] in LOOPBACK:
        print("only this machine can reach it: set SALLYPORT_LISTEN and SALLYPORT_PUBLIC_URL")
    sys.stdout.flush()


def _watch(programs: list[Program], stopped: threading.Event) -> None:
    while not stopped.wait(0.2):
        _raise_if_ended(programs)


def _raise_if_ended(programs: list[Program]) -> None:
    dead = ended(programs)
    if dead is not None:
        raise HostError(f"{dead.name} ended with status {dead.exit_status()}: everything is stopped")
