"""`sallyport tunnel`: the data plane of a gateway, from the settings."""

from __future__ import annotations

import argparse
import sys

from gateway.errors import SettingsError
from gateway.instances import Instance
from gateway.settings import Settings
from gateway.tunnel import host, privilege
from gateway.tunnel.__main__ import choose_transforms
from gateway.tunnel.__main__ import run as run_tunnel


def configure(parser: argparse.ArgumentParser) -> None:
    """Ask which one of several; the settings say everything else."""
    parser.add_argument("--instance", type=int, help="which of SALLYPORT_TUNNEL_INSTANCES this is, counted from 0")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    instance = chosen(settings, arguments.instance)

    def ready(interface: str) -> None:
        become_ready = host.prepare if privilege.has(privilege.NET_ADMIN) else host.check
        become_ready(interface, instance.addresses, settings.tunnel_mtu)
        print(f"tunnel ready on {interface}", file=sys.stderr, flush=True)

    transforms = choose_transforms(settings.transforms)
    run_tunnel(
        instance.interface,
        transforms=transforms,
        folder=settings.state_dir / "tunnel",
        mtu=settings.tunnel_mtu,
        port=instance.port,
        ready=ready,
    )
    return 0


def chosen(settings: Settings, number: int | None) -> Instance:
    """The instance that this process is. Raises SettingsError when that is not clear."""
    every = settings.tunnel_instances
    if number is None and len(every) == 1:
        return every[0]
    if number is None or not 0 <= number < len(every):
        raise SettingsError(f"--instance must be 0 to {len(every) - 1}: there are {len(every)} instances of the tunnel")
    return every[number]
