"""The administrator: logs in with a browser on the gateway's own host, kills a session, reads the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.demo.browser import Browser
from gateway.demo.namespaces import Host
from gateway.errors import ProviderError


class Administrator:
    """Somebody of the group that SALLYPORT_ADMIN_GROUP names, logged in from the start."""

    def __init__(self, host: Host, url: str, authority: Path, user: str) -> None:
        """Log in. Raises ProviderError when that is refused."""
        self._host = host
        self._url = url
        self._browser = Browser(authority)
        with host.entered():
            me = self._browser.log_in(f"{url}/login/admin", user).json()
        self._csrf: str = me["csrf"]

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions, the newest first."""
        found: list[dict[str, Any]] = self._get("/v1/admin/sessions")["sessions"]
        return found

    def audit(self) -> list[dict[str, Any]]:
        """The audit log from its beginning."""
        found: list[dict[str, Any]] = self._get("/v1/admin/audit")["audit"]
        return found

    def kill(self, session: str, reason: str) -> None:
        """Kill a session. Raises ProviderError when the gateway refuses."""
        headers = {"x-sallyport-csrf": self._csrf}
        with self._host.entered():
            path = f"{self._url}/v1/admin/sessions/{session}/kill"
            answer = self._browser.client.post(path, json={"reason": reason}, headers=headers)
        if answer.status_code != 200:
            raise ProviderError(f"kill {session}: {answer.status_code} {answer.text}")

    def close(self) -> None:
        """Forget the cookies."""
        self._browser.close()

    def _get(self, path: str) -> dict[str, Any]:
        with self._host.entered():
            answer = self._browser.client.get(self._url + path)
        if answer.status_code != 200:
            raise ProviderError(f"{path}: {answer.status_code} {answer.text}")
        members: dict[str, Any] = answer.json()
        return members
