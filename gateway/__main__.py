"""The command `sallyport`: composition root. Commands are imported only when they are called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from agent.wire import AGENT_VERSION
from gateway.errors import GatewayError

COMMANDS = {
    "up": "gateway and tunnel on this machine with embedded defaults, to look around",
    "serve": "the gateway: login, policy, sessions (HTTPS)",
    "tunnel": "the data plane: WireGuard with permits and leases",
    "setup-host": "make a TUN for a user, so that the tunnel runs without privilege",
    "demo": "three hosts, real programs, six steps observed in packets",
    "policy": "begin, check, test and explain policies",
}
"""Name of each command, which is also its module in `gateway.cli` (with _ for -), and what it is for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 1 after `error: …`, 2 for a wrong command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _parser(given).parse_args(given)
        return int(parsed.run(parsed))
    except GatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sallyport", description="Zero-trust posture and identity gateway.")
    parser.add_argument("--version", action="version", version=f"sallyport {AGENT_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if given[:1] == [name]:
            importlib.import_module(f"gateway.cli.{name.replace('-', '_')}").configure(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
