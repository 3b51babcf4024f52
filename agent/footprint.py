"""What the agent has changed on this machine outside of its interface, written down first so that anybody can undo it.

While an agent runs, and after one was killed, what belongs into the tunnel stays blocked. An agent that ends in order, or
`sallyport-agent down`, puts everything back; one that starts takes over what a killed one has left.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

from agent import guard, host
from agent.errors import AgentError
from agent.guard import Protection
from agent.names import EVERY_NAME, Names
from agent.wire import TunnelConfig

LARGEST: Final = 1 << 20


class Footprint:
    """The changes of one agent, remembered in its state folder."""

    def __init__(self, folder: Path, names: Names | None = None) -> None:
        self._file = folder / "footprint.json"
        self._names = names or Names(folder)
        self._standing: Protection | None = None
        self._usual: Protection | None = None
        self.shortcomings: list[str] = []
        """Why a part of the protection is missing; empty when both walls stand and names are asked where they should be."""

    def recover(self, interface: str) -> None:
        """Take over from an agent that was killed, or that ran before: protected from the first moment on."""
        members = self._read()
        with contextlib.suppress(AgentError):
            self._names.restore()
        if members is None:
            return
        if members.get("backend") == "kernel":  # every other backend takes its interface with it
            host.run("ip", "link", "delete", str(members.get("interface")), accept=guard.GONE)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            known = Protection.from_json(members)
            self._usual = Protection(interface, known.prefixes, known.addresses, known.every_name)
            self._stand(self._usual)

    def enter(self, config: TunnelConfig, interface: str) -> None:
        """Protect what the tunnel is for, before it comes up. Raises AgentError when that cannot be."""
        self._usual = Protection(
            interface,
            guard.protected(config.routes),
            config.addresses,
            EVERY_NAME in config.domains and bool(config.dns),
        )
        self._remember(self._usual, None)
        self._stand(self._usual)

    def route(self, config: TunnelConfig, interface: str, backend: str) -> None:
        """The tunnel is up: send its routes and its names there. Raises AgentError."""
        if backend == "kernel" and self._usual is not None:
            self._remember(self._usual, backend)
        guard.through(interface, config.routes)
        try:
            self._names.use(interface, config.dns, config.domains)
        except AgentError as error:
            self.shortcomings.append(str(error))

    def leave(self, *, for_a_person: bool = False) -> None:
        """The tunnel is down: names go where they went before, and what was protected is blocked now.

        `for_a_person` lets a browser out where a default route was protected: nothing else can bring the tunnel back.
        """
        with contextlib.suppress(AgentError):
            self._names.restore()
        if for_a_person and self._usual is not None:
            self._stand(self._usual.waiting_for_a_person())

    def mend(self) -> list[str]:
        """Put back what another program has taken away. Gives what had to be put back."""
        mended = []
        if self._standing is not None and not guard.stands():
            self.shortcomings = guard.protect(self._standing, self._standing)
            mended.append("the leak protection was removed: it is back")
        with contextlib.suppress(AgentError):
            if self._names.again():
                mended.append("resolv.conf was written by another program: the tunnel's name servers are back")
        return mended

    def clear(self) -> None:
        """Put everything back. Raises AgentError that names what could not be."""
        self._names.restore()
        members = self._read() or {}
        if members.get("backend") == "kernel":
            host.run("ip", "link", "delete", str(members.get("interface")), accept=guard.GONE)
        if self._standing is not None or members:
            guard.release()
        self._standing = self._usual = None
        self._file.unlink(missing_ok=True)

    @property
    def standing(self) -> Protection | None:
        """What is protected now."""
        return self._standing

    def _stand(self, protection: Protection) -> None:
        if protection == self._standing:
            return
        self.shortcomings = guard.protect(protection, self._standing)
        self._standing = protection

    def _remember(self, protection: Protection, backend: str | None) -> None:
        members = {**protection.to_json(), "backend": backend}
        if self._read() == members:
            return
        fresh = self._file.with_name(self._file.name + ".new")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as opened:
                json.dump(members, opened)
                opened.flush()
                os.fsync(opened.fileno())
            fresh.replace(self._file)
        except OSError as error:
            raise AgentError(
                f"{self._file} cannot be written ({error.strerror}): the machine is left as it is"
            ) from None

    def _read(self) -> dict[str, Any] | None:
        try:
            with self._file.open("rb") as opened:
                members = json.loads(opened.read(LARGEST))
        except (OSError, ValueError, RecursionError):
            return None
        return members if isinstance(members, dict) else None
