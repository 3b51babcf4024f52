"""A notification on the desktop of everybody who sits at this machine (freedesktop Desktop Notifications, version 1.2).

Each person's bus is their own, so the message goes out under their number, by busctl(1) in a process that has given up
everything else. Nobody waits for it: a desktop that does not answer is none of the agent's business.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.answers import Verdict

USERS: Final = Path("/run/user")
PATIENCE: Final = 5.0
LONGEST: Final = 400
NOTIFICATIONS: Final = "org.freedesktop.Notifications"
LOW, CRITICAL = 0, 2
REPLACES_NONE: Final = "0"
NEVER_EXPIRES, BY_THE_DESKTOP = "0", "-1"
MOST_FINDINGS: Final = 3


def text(before: Verdict | None, verdict: Verdict) -> tuple[str, str, int] | None:
    """Title, body and urgency for a change of tier; None when the tier is the same."""
    if before is not None and before.tier == verdict.tier and before.sequence:
        return None
    reach = ", ".join(resource.name for resource in verdict.resources) or "nothing"
    lines = [f"You reach: {reach}"]
    for finding in verdict.refused[:MOST_FINDINGS]:
        lines.append(f"{finding.check}: {finding.reason}")
        if finding.fix:
            lines.append(f"Fix: {finding.fix}")
    return f"Access: {verdict.tier}", "\n".join(lines)[:LONGEST], CRITICAL if verdict.refused else LOW


def tell(title: str, body: str, urgency: int, *, users: Path = USERS) -> None:
    """Show it on every desktop, beside the caller's work."""
    commands = list(desktops(title, body, urgency, users=users))
    if commands:
        threading.Thread(target=_send, args=(commands,), name="notify", daemon=True).start()


def desktops(title: str, body: str, urgency: int, *, users: Path = USERS) -> Iterator[list[str]]:
    """One command for each person who has a bus."""
    for folder in sorted(users.iterdir()) if users.is_dir() else ():
        bus = folder / "bus"
        if not folder.name.isdecimal() or not bus.is_socket() or folder.stat().st_uid != int(folder.name):
            continue
        uid = folder.name
        as_them = [
            "setpriv",
            "--reuid",
            uid,
            "--clear-groups",
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--no-new-privs",
        ]
        address = f"--address=unix:path={bus}"
        call = [NOTIFICATIONS, f"/{NOTIFICATIONS.replace('.', '/')}", NOTIFICATIONS, "Notify", "susssasa{sv}i"]
        shown = ["sallyport", REPLACES_NONE, "network-vpn", title, _plain(body), "0"]
        hints = ["1", "urgency", "y", str(urgency), NEVER_EXPIRES if urgency == CRITICAL else BY_THE_DESKTOP]
        yield [*as_them, "--", "busctl", address, f"--timeout={PATIENCE:.0f}", "call", *call, *shown, *hints]


def _send(commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue


def _plain(text: str) -> str:
    """The body may be read as markup: what a gateway sends must not become a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
