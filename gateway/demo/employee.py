"""The employee: enrols the laptop with a browser, runs the agent, and looks at its status when something is wrong."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.demo.browser import Browser
from gateway.demo.namespaces import Host
from gateway.errors import HostError
from gateway.programs import Program
from gateway.settings import without_settings

AGENT: Final = (sys.executable, "-m", "agent")
LOGIN_WITHIN: Final = 30.0


@dataclass(frozen=True, slots=True)
class Status:
    """What `sallyport-agent status --json` says: connected by packets, the session, its tier, fixes by check."""

    connected: bool
    state: str
    session: str | None
    tier: str | None
    reasons: Mapping[str, str]
    fixes: Mapping[str, str | None]


class Employee:
    """Somebody with a laptop. `settings` are the agent's own."""

    def __init__(self, host: Host, interface: str, settings: Mapping[str, str]) -> None:
        self._host = host
        self.interface = interface
        self._settings = dict(settings)
        self._agent: Program | None = None

    def enrol(self, url: str, authority: Path, user: str) -> list[str]:
        """Enrol the laptop and log in as `user`. Gives the addresses that the browser visited, in order."""
        command = [*AGENT, "enrol", url, "--ca", str(authority), "--no-browser", "--name", "demo-laptop"]
        enrolling = self._start("enrol", command)
        try:
            login = enrolling.wait_for(r"open this address to log in: (\S+)", timeout=LOGIN_WITHIN)[1]
            visited = self._browse(login, authority, user)
            enrolling.wait_for("this machine is enrolled", timeout=LOGIN_WITHIN)
        finally:
            enrolling.end()
        return visited

    def _browse(self, url: str, authority: Path, user: str) -> list[str]:
        browser = Browser(authority)
        try:
            with self._host.entered():
                browser.log_in(url, user)
            return browser.visited
        finally:
            browser.close()

    def start_agent(self) -> Program:
        """Start the agent; it ends with `stop_agent`."""
        self._agent = self._start("agent", [*AGENT, "run", "--interface", self.interface])
        return self._agent

    def freeze_agent(self) -> None:
        """Stop the agent's process where it stands: from here on it hears and does nothing. Its tunnel runs on."""
        if self._agent is not None:
            self._agent.signal(signal.SIGSTOP)

    def thaw_agent(self) -> None:
        """Let it go on."""
        if self._agent is not None:
            self._agent.signal(signal.SIGCONT)

    def stop_agent(self) -> None:
        """End the agent and with it the tunnel."""
        if self._agent is not None:
            self.thaw_agent()
            self._agent.end()

    def status(self) -> Status:
        """Ask the agent how things stand. Raises HostError when it says nothing that can be read."""
        done = subprocess.run(
            self._within([*AGENT, "status", "--json"]),
            env=without_settings(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        try:
            said: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise HostError(f"sallyport-agent status: {(done.stderr or done.stdout).strip()}") from None
        verdict = said.get("verdict") or {}
        findings = [finding for finding in verdict.get("findings", ()) if finding["effective"]]
        return Status(
            connected=bool(said.get("connected")),
            state=str(said.get("state")),
            session=verdict.get("session"),
            tier=verdict.get("tier"),
            reasons={finding["check"]: finding["reason"] for finding in findings},
            fixes={finding["check"]: finding["fix"] for finding in findings},
        )

    def apply(self, fix: str) -> None:
        """Type the fix that the agent shows, letter for letter."""
        self._host.run(*shlex.split(fix))

    def _start(self, name: str, command: list[str]) -> Program:
        settings = {**self._settings, "PYTHONUNBUFFERED": "1"}
        return Program(
            name,
            command,
            environment=settings,
            inherited=without_settings(),
            within=self._host.command(),
            orphaned=signal.SIGTERM,
        )

    def _within(self, command: list[str]) -> list[str]:
        return self._host.command("env", *(f"{name}={value}" for name, value in self._settings.items()), *command)
