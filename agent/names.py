"""The tunnel's DNS: its servers for its domains, by systemd-resolved where that runs, else in resolv.conf.

systemd-resolved keeps it per link, so it goes with the interface, however that ends. resolv.conf has no domains: all names
go to the tunnel's servers while it is up. What stood there is written down first; any later process can put it back.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent import host
from agent.errors import AgentError

RESOLV_CONF: Final = Path("/etc/resolv.conf")
RESOLVED: Final = Path("/run/systemd/resolve")
OURS: Final = "# written by sallyport-agent while the tunnel is up; what was here comes back afterwards"
LARGEST: Final = 1 << 16
EVERY_NAME: Final = "."
"""The domain that holds all names."""


class Names:
    """The name servers of one machine. `folder` keeps what has to be put back."""

    def __init__(self, folder: Path, *, resolv_conf: Path = RESOLV_CONF, resolved: Path = RESOLVED) -> None:
        self._kept = folder / "resolv.conf.before"
        self._file = resolv_conf
        self._resolved = resolved
        self._wanted = ""
        self._link: str | None = None

    def use(self, interface: str, servers: Sequence[str], domains: Sequence[str]) -> None:
        """Ask these servers. Raises AgentError, and then nothing is changed."""
        if not servers:
            self.restore()
        elif self._by_resolved():
            self._tell_resolved(interface, servers, domains)
        else:
            self._wanted = content(servers, domains)
            self.again()

    def again(self) -> bool:
        """Put our lines back where another program has written its own. Says whether it had to."""
        if not self._wanted or self._read() == self._wanted:
            return False
        self._keep()
        self._write(self._wanted)
        return True

    def restore(self) -> None:
        """Put back what was there. What another program has written since stays."""
        if self._link is not None:
            host.run("resolvectl", "revert", self._link, accept=("Failed to resolve interface", "No such device"))
            self._link = None
        self._wanted = ""
        before = self._before()
        if before is None:
            return
        if (self._read() or "").startswith(OURS):
            self._put_back(before)
        with contextlib.suppress(OSError):
            self._kept.unlink()

    def _by_resolved(self) -> bool:
        """Whether resolv.conf is systemd-resolved's own (systemd-resolved.service(8), /ETC/RESOLV.CONF)."""
        with contextlib.suppress(OSError):
            return self._resolved in self._file.resolve().parents and (self._resolved / "resolv.conf").exists()
        return False

    def _tell_resolved(self, interface: str, servers: Sequence[str], domains: Sequence[str]) -> None:
        everything = EVERY_NAME in domains
        named = ["~." if domain == EVERY_NAME else domain for domain in domains]
        host.run("resolvectl", "dns", interface, *servers)
        host.run("resolvectl", "domain", interface, *(named or [""]))
        host.run("resolvectl", "default-route", interface, "yes" if everything else "no")
        self._link = interface

    def _read(self) -> str | None:
        with contextlib.suppress(OSError, UnicodeDecodeError), self._file.open("rb") as opened:
            return opened.read(LARGEST).decode()
        return None

    def _keep(self) -> None:
        """Write down what is there, unless it is ours: a symbolic link by its target, a file by its content."""
        target = os.readlink(self._file) if self._file.is_symlink() else None
        text = self._read()
        if target is None and (text or "").startswith(OURS):
            return
        kept = {"target": target, "text": None if target else text}
        fresh = self._kept.with_name(self._kept.name + ".new")
        try:
            fresh.write_text(json.dumps(kept))
            fresh.replace(self._kept)
        except OSError as error:
            raise AgentError(f"{self._kept} cannot be written ({error.strerror}): DNS is left as it is") from None

    def _before(self) -> dict[str, Any] | None:
        try:
            members = json.loads(self._kept.read_bytes())
        except (OSError, ValueError):
            return None
        sound = isinstance(members, dict) and all(isinstance(v, str | None) for v in members.values())
        return members if sound else {}

    def _put_back(self, before: dict[str, Any]) -> None:
        if before.get("target"):
            fresh = self._file.with_name(f".{self._file.name}.sallyport")
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            fresh.symlink_to(before["target"])
            fresh.replace(self._file)
        elif before.get("text") is not None:
            self._write(before["text"])
        else:
            self._file.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        """Replace the file as a whole; one that is a mount of its own (a container's) is written in place."""
        fresh = self._file.with_name(f".{self._file.name}.sallyport")
        try:
            fresh.write_text(text)
            fresh.chmod(0o644)
            try:
                fresh.replace(self._file)
            except OSError:
                fresh.unlink()
                self._file.write_text(text)
        except OSError as error:
            raise AgentError(f"{self._file} cannot be written ({error.strerror})") from None


def content(servers: Sequence[str], domains: Sequence[str]) -> str:
    """resolv.conf(5) with these servers alone: a second, public one would be told the office's names."""
    search = [domain for domain in domains if domain != EVERY_NAME]
    lines = [OURS, *(f"nameserver {server}" for server in servers[:3])]
    return "\n".join([*lines, f"search {' '.join(search)}"] if search else lines) + "\n"
