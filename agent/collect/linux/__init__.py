"""The collectors of Linux."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from agent.collect.linux import antivirus, disk, firewall, patches, system

COLLECTORS: Final[dict[str, ModuleType]] = {
    "system": system,
    "disk": disk,
    "antivirus": antivirus,
    "firewall": firewall,
    "patches": patches,
}
