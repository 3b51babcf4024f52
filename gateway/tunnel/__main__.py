"""The command `sallyport-tunnel`: a drop-in for `wireguard-go IFNAME`."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.wire import AGENT_VERSION
from gateway.errors import GatewayError, HostError, SettingsError
from gateway.tunnel import privilege, seccomp, timestamps
from gateway.tunnel.control import ControlSocket
from gateway.tunnel.loop import Pump, boottime
from gateway.tunnel.rehearsal import rehearse
from gateway.tunnel.tun import DEFAULT_MTU, Tun
from gateway.wireguard.transforms import NAMES, Transforms, choose


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one interface. Returns 0 at a wanted end, 1 after `error: …`."""
    parser = argparse.ArgumentParser(
        prog="sallyport-tunnel", description="A userspace WireGuard with permits and leases."
    )
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("--version", action="store_true", help="print the version and which transforms are active")
    parser.add_argument("interface", metavar="IFNAME", nargs="?", help="name of the interface to make")
    parsed = parser.parse_args(arguments)
    if not parsed.version and parsed.interface is None:
        parser.error("the following arguments are required: IFNAME")
    foreground = parsed.foreground or os.environ.get("WG_PROCESS_FOREGROUND") == "1"
    try:
        chosen = choose_transforms(os.environ.get("SALLYPORT_TRANSFORMS") or None)
        if parsed.version:
            print(f"sallyport-tunnel {AGENT_VERSION} (transforms: {chosen.NAME})")
            return 0
        folder = Path(os.environ.get("SALLYPORT_STATE_DIR") or timestamps.DEFAULT_FOLDER.parent) / "tunnel"
        run(parsed.interface, transforms=chosen, folder=folder, deputy=True, ready=_stay if foreground else _daemonise)
    except GatewayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def choose_transforms(name: str | None) -> Transforms:
    """Give the transforms by name; None takes the best that is installed. Raises HostError."""
    if name is not None and name not in NAMES:
        raise SettingsError(f"SALLYPORT_TRANSFORMS={name!r}: must be one of {', '.join(NAMES)}")
    try:
        return choose(name)
    except ImportError:
        raise HostError(
            f"the {name} transforms are not built: run make native, or unset SALLYPORT_TRANSFORMS"
        ) from None


def run(
    interface: str,
    *,
    transforms: Transforms,
    folder: Path,
    mtu: int = DEFAULT_MTU,
    port: int = 0,
    deputy: bool = False,
    ready: Callable[[str], None],
) -> None:
    """Make the interface, drop all privilege, and pump until it ends.

    `folder` keeps the timestamps of handshakes.
    `ready` is called with its name once it can be configured, the privilege still there. A `deputy` process keeps the
    privilege of opening sockets: for other ports below 1024, for fwmark, for large buffers on another port than `port`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_=+.-]{1,15}", interface):
        raise HostError(f"{interface!r} is no interface name; allowed are 1 to 15 letters, digits and _=+.-")
    if not seccomp.supported():
        print("no seccomp filter: it is for x86_64 and aarch64 only", file=sys.stderr)
    rehearse(transforms, now=boottime())
    tun = Tun(interface, mtu)
    try:
        control = ControlSocket(tun.name)
        pump = Pump(tun, control, transforms, port=port, timestamps=timestamps.kept(tun.name, folder))
    except BaseException:
        tun.close()
        raise
    with contextlib.closing(pump):
        ready(tun.name)
        kept = privilege.confine(deputy=deputy)
        if kept is None:
            pump.run()
        else:
            pump.opener = kept
            with contextlib.closing(kept):
                pump.run()


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
