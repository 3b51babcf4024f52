"""`sallyport setup-host`: root makes the TUN, addresses, routes and forwarding once; the tunnel runs without privilege."""

from __future__ import annotations

import argparse
import os
import sys

from gateway.errors import HostError
from gateway.settings import Settings
from gateway.tunnel import persistent
from gateway.tunnel.persistent import Owner


def configure(parser: argparse.ArgumentParser) -> None:
    """Ask for the user; what is made is in the settings."""
    parser.add_argument("--user", help="name or number of the user that `sallyport tunnel` runs as")
    parser.add_argument("--undo", action="store_true", help="delete the TUN and put back what was changed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    if os.geteuid() != 0:
        raise HostError("setup-host needs root; what it makes lets the tunnel run without")
    if arguments.undo:
        for each in settings.tunnel_instances:
            persistent.remove(each.interface)
            print(f"{each.interface} and what was set up for it are gone", file=sys.stderr)
    elif arguments.user is None:
        raise HostError("say for whom: setup-host --user USER")
    else:
        owner = Owner.named(arguments.user)
        for each in settings.tunnel_instances:
            persistent.make(each.interface, owner, each.addresses, settings.tunnel_mtu)
            print(f"{each.interface} is ready for user {owner.uid}", file=sys.stderr)
    return 0
