"""The command `sallyport-tunnel`: a drop-in for `wireguard-go IFNAME`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from agent.wire import AGENT_VERSION
from gateway.errors import GatewayError, HostError
from gateway.tunnel.control import ControlSocket
from gateway.tunnel.loop import Pump
from gateway.tunnel.tun import DEFAULT_MTU, Tun
from gateway.wireguard import transforms


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one interface. Returns 0 at a wanted end, 1 after `error: …`."""
    parser = argparse.ArgumentParser(
        prog="sallyport-tunnel", description="A userspace WireGuard with permits and leases."
    )
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    version = f"sallyport-tunnel {AGENT_VERSION} (transforms: {transforms.NAME})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("interface", metavar="IFNAME", help="name of the interface to make")
    parsed = parser.parse_args(arguments)
    foreground = parsed.foreground or os.environ.get("WG_PROCESS_FOREGROUND") == "1"
    try:
        run(parsed.interface, ready=_stay if foreground else _daemonise)
    except GatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(interface: str, *, mtu: int = DEFAULT_MTU, ready: Callable[[str], None]) -> None:
    """Make the interface and pump until it ends. `ready` is called with its name once it can be configured."""
    if not re.fullmatch(r"[A-Za-z0-9_=+.-]{1,15}", interface):
        raise HostError(f"{interface!r} is no interface name; allowed are 1 to 15 letters, digits and _=+.-")
    tun = Tun(interface, mtu)
    try:
        control = ControlSocket(tun.name)
        pump = Pump(tun, control)
    except BaseException:
        tun.close()
        raise
    try:
        ready(tun.name)
        pump.run()
    finally:
        pump.close()


def _stay(_interface: str) -> None:
    """Stay where we are."""


def _daemonise(_interface: str) -> None:
    """Go on in the background, in a session of our own and without a terminal. No key is known yet at this point."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)


if __name__ == "__main__":
    sys.exit(main())
