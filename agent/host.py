"""Programs of the host that change its network: ip(8), nft(8). One complaint, one error."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.errors import AgentError

PACKAGES: Final = {"ip": "iproute2", "nft": "nftables", "resolvectl": "systemd-resolved", "wg": "wireguard-tools"}
PATIENCE: Final = 10.0
"""Seconds; none of these programs waits for anybody."""


def run(*words: str, text: str | None = None, accept: Sequence[str] = ()) -> str:
    """Run a program and give its output. A complaint that contains one of `accept` is none. Raises AgentError."""
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except FileNotFoundError:
        raise AgentError(f"{words[0]} is missing: install {PACKAGES.get(words[0], words[0])}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"{words[0]}: {error}"[:200]) from None
    complaint = done.stderr.strip()
    if done.returncode and not any(each in complaint for each in accept):
        raise AgentError(f"{' '.join(words)}: {complaint or f'status {done.returncode}'}"[:500])
    return done.stdout


def has_ipv6() -> bool:
    """Whether the kernel has IPv6 at all."""
    return Path("/proc/net/if_inet6").exists()
