"""`python -m gateway.development --listen 127.0.0.1:9400 --redirect-uri URL`: the development provider as a process."""

from __future__ import annotations

import argparse
import socket
import sys

import uvicorn

from gateway.development.provider import USERS, DevelopmentProvider
from gateway.settings import LOOPBACK


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal ends the process. Exit status 1 when the port cannot be had, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m gateway.development", description=__doc__)
    parser.add_argument("--listen", type=_loopback, default="127.0.0.1:9400", metavar="HOST:PORT")
    parser.add_argument("--redirect-uri", required=True, metavar="URL", help="the one place that a login may return to")
    chosen = parser.parse_args(arguments)
    host, port = chosen.listen
    try:
        listener = _listen(host, port)
    except OSError as error:
        print(f"development provider: {host}:{port}: {error.strerror}", file=sys.stderr)
        return 1
    issuer = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    provider = DevelopmentProvider(issuer, chosen.redirect_uri)
    print(f"development provider on {issuer}, anybody may log in as: {', '.join(USERS)}", file=sys.stderr, flush=True)
    config = uvicorn.Config(provider.app, log_level="warning", server_header=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _loopback(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host not in LOOPBACK or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError("must be a loopback address and a port, for example 127.0.0.1:9400")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
