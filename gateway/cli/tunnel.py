"""`sallyport tunnel`: the data plane of a gateway, from the settings."""

from __future__ import annotations

import argparse
import sys

from gateway.settings import Settings
from gateway.tunnel import host, privilege
from gateway.tunnel.__main__ import choose_transforms
from gateway.tunnel.__main__ import run as run_tunnel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the settings say everything."""
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    settings = Settings.from_environment()

    def ready(interface: str) -> None:
        become_ready = host.prepare if privilege.has(privilege.NET_ADMIN) else host.check
        become_ready(interface, settings.tunnel_addresses, settings.tunnel_mtu)
        print(f"tunnel ready on {interface}", file=sys.stderr, flush=True)

    transforms = choose_transforms(settings.transforms)
    run_tunnel(
        settings.tunnel_interface,
        transforms=transforms,
        folder=settings.state_dir / "tunnel",
        mtu=settings.tunnel_mtu,
        port=settings.tunnel_endpoint[1],
        ready=ready,
    )
    return 0
