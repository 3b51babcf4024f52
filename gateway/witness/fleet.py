"""Fleet (fleetdm.com), the server of osquery agents: its list of hosts over its REST API, page by page.

Everything that it answers is held to be hostile: a host that lacks a member has no such fact, a page in another form ends
the round, and what is not read here is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx2

from agent.catalogue import LONGEST_TEXT, MOST_TEXTS
from gateway.errors import ProviderError
from gateway.identity.http import Egress, json_object
from gateway.witness import Record

PER_PAGE: Final = 100
MOST_PAGES: Final = 2000
ENROLLED: Final = re.compile(r"On( \((automatic|manual|personal)\))?")
"""`mdm.enrollment_status`; `Off` and `Pending` are none."""
_VERSION = re.compile(r"\d+(?:\.\d+)*")


class _Bearer(httpx2.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


@dataclass(frozen=True, slots=True)
class Fleet:
    """One Fleet server. `token` is that of an API-only user with the role observer."""

    url: str
    token: str
    http: Egress
    name: str = "fleet"

    def records(self) -> Iterator[Record]:
        """Walk all pages. Raises ProviderError."""
        auth = _Bearer(self.token)
        for page in range(MOST_PAGES):
            url = f"{self.url}/api/v1/fleet/hosts?page={page}&per_page={PER_PAGE}&order_key=id&populate_policies=true"
            hosts = json_object(self.http.get(url, auth=auth)).get("hosts")
            if not isinstance(hosts, list) or not all(isinstance(host, dict) for host in hosts):
                raise ProviderError(f"{self.url}: the answer has no list of hosts")
            yield from (record for host in hosts if (record := parse_host(host)) is not None)
            if len(hosts) < PER_PAGE:
                return
        raise ProviderError(f"{self.url}: more than {MOST_PAGES * PER_PAGE} hosts")


def parse_host(host: Mapping[str, Any]) -> Record | None:
    """Read one host; None for one that has neither serial number nor UUID, or was never seen."""
    serial, uuid = _text(host.get("hardware_serial")), _text(host.get("uuid"))
    seen_at = _time(host.get("seen_time"))
    if seen_at is None or (serial is None and uuid is None):
        return None
    mdm, policies = host.get("mdm"), host.get("policies")
    failing = _failing(policies) if isinstance(policies, list) else None
    encrypted = host.get("disk_encryption_enabled")
    status = mdm.get("enrollment_status") if isinstance(mdm, dict) else None
    facts = {
        "mdm.product": "fleet",
        "mdm.enrolled": isinstance(status, str) and ENROLLED.fullmatch(status) is not None,
        "mdm.seen_at": seen_at.timestamp(),
        "mdm.compliant": None if failing is None else not failing,
        "mdm.failing_policies": failing,
        "mdm.disk_encrypted": encrypted if isinstance(encrypted, bool) else None,
        "mdm.os_version": _version(host.get("os_version")),
    }
    return Record(serial, uuid.lower() if uuid else None, seen_at, facts)


def _failing(policies: list[Any]) -> list[str] | None:
    """The names of the policies that the host fails; None when there are none to pass, or one has no answer yet."""
    if not policies or len(policies) > MOST_TEXTS or not all(isinstance(policy, dict) for policy in policies):
        return None
    answers = {policy.get("response") for policy in policies}
    if not answers <= {"pass", "fail"}:
        return None
    return sorted(
        {_text(policy.get("name")) or "a policy without a name" for policy in policies if policy["response"] == "fail"}
    )


def _version(value: object) -> str | None:
    """`15.1` in `macOS 15.1`, `22.04.3` in `Ubuntu 22.04.3 LTS`, `10.0.26100.2314` in `Windows 11 Pro 24H2 10.0.26100.2314`."""
    found = _VERSION.findall(value) if isinstance(value, str) and len(value) <= LONGEST_TEXT else []
    return max(found, key=lambda text: text.count("."), default=None)


def _text(value: object) -> str | None:
    sound = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable() and value.strip()
    return str(value).strip() if sound else None


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None or found.year < 2000 else found.astimezone(UTC)
