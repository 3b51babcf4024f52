"""The collectors of Linux."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from agent.collect.linux import (
    antivirus,
    boot,
    device,
    disk,
    domain,
    firewall,
    listening,
    network,
    patches,
    processes,
    screen,
    sealed,
    system,
    trust,
    users,
)

COLLECTORS: Final[Mapping[str, ModuleType]] = {
    "system": system,
    "device": device,
    "disk": disk,
    "antivirus": antivirus,
    "firewall": firewall,
    "patches": patches,
    "boot": boot,
    "screen": screen,
    "users": users,
    "domain": domain,
    "processes": processes,
    "listening": listening,
    "network": network,
    "certificates": trust,
}

run = sealed.run
