"""Fleet's list of hosts: read page by page, whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from gateway.errors import ProviderError
from gateway.identity.http import Egress
from gateway.witness import Record
from gateway.witness.fleet import PER_PAGE, Fleet, parse_host

HOST: dict[str, Any] = {
    "id": 7,
    "hostname": "laptop-7",
    "uuid": "4C4C4544-0051-3510-8052-B4C04F4A3232",
    "hardware_serial": "PF3ABCDE",
    "seen_time": "2026-11-25T11:58:00Z",
    "os_version": "Ubuntu 24.04.1 LTS",
    "disk_encryption_enabled": True,
    "mdm": {"enrollment_status": "On (automatic)", "name": "Fleet"},
    "policies": [{"id": 1, "name": "Firewall on", "response": "pass"}, {"id": 2, "name": "No USB", "response": "fail"}],
}


def record(**differences: Any) -> Record:
    found = parse_host({**HOST, **differences})
    assert found is not None
    return found


def test_a_host_is_read_to_facts() -> None:
    found = record()
    assert (found.serial, found.uuid) == ("PF3ABCDE", "4c4c4544-0051-3510-8052-b4c04f4a3232")
    assert dict(found.facts) == {
        "mdm.product": "fleet",
        "mdm.enrolled": True,
        "mdm.seen_at": found.seen_at.timestamp(),
        "mdm.compliant": False,
        "mdm.failing_policies": ["No USB"],
        "mdm.disk_encrypted": True,
        "mdm.os_version": "24.04.1",
    }


@pytest.mark.parametrize(
    ("member", "value", "fact", "expected"),
    [
        ("mdm", {"enrollment_status": "Off"}, "mdm.enrolled", False),
        ("mdm", {"enrollment_status": "Pending"}, "mdm.enrolled", False),
        ("mdm", None, "mdm.enrolled", False),
        ("mdm", {"enrollment_status": "On (manual)"}, "mdm.enrolled", True),
        ("mdm", {"enrollment_status": ["On"]}, "mdm.enrolled", False),
        ("policies", [], "mdm.compliant", None),
        ("policies", [{"name": "x", "response": ""}], "mdm.compliant", None),
        ("policies", [{"name": "x", "response": "pass"}], "mdm.compliant", True),
        ("policies", ["x"], "mdm.failing_policies", None),
        ("policies", [{"response": "fail"}], "mdm.failing_policies", ["a policy without a name"]),
        ("disk_encryption_enabled", None, "mdm.disk_encrypted", None),
        ("disk_encryption_enabled", "yes", "mdm.disk_encrypted", None),
        ("os_version", "macOS 15.1", "mdm.os_version", "15.1"),
        ("os_version", "Windows 11 Pro 24H2 10.0.26100.2314", "mdm.os_version", "10.0.26100.2314"),
        ("os_version", "x" * 10_000, "mdm.os_version", None),
        ("os_version", 15, "mdm.os_version", None),
    ],
)
def test_what_a_host_does_not_say_plainly_is_no_fact(member: str, value: Any, fact: str, expected: Any) -> None:
    assert record(**{member: value}).facts[fact] == expected


@pytest.mark.parametrize(
    "differences",
    [
        {"hardware_serial": "", "uuid": ""},
        {"hardware_serial": None, "uuid": 5},
        {"seen_time": None},
        {"seen_time": "yesterday"},
        {"seen_time": "2026-11-25T11:58:00"},
        {"seen_time": "0001-01-01T00:00:00Z"},
    ],
)
def test_a_host_that_cannot_be_named_or_was_never_seen_is_none(differences: dict[str, Any]) -> None:
    assert parse_host({**HOST, **differences}) is None


def fleet(*answers: Any) -> tuple[Fleet, list[httpx2.Request]]:
    """A Fleet server that gives these pages, and what it was asked."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        said = answers[int(request.url.params["page"])]
        return httpx2.Response(200, text=said) if isinstance(said, str) else httpx2.Response(said)

    http = Egress(allow_loopback=True, wire=httpx2.MockTransport(answer))
    return Fleet("http://127.0.0.1:1", "secret-token", http), asked


def page(count: int) -> str:
    return json.dumps({"hosts": [{**HOST, "hardware_serial": f"S{number}"} for number in range(count)]})


def test_all_pages_are_asked_with_the_token() -> None:
    service, asked = fleet(page(PER_PAGE), page(PER_PAGE), page(3))
    assert len(list(service.records())) == 2 * PER_PAGE + 3
    assert [request.headers["authorization"] for request in asked] == ["Bearer secret-token"] * 3


@pytest.mark.parametrize("answer", [401, 302, 500, "", "[]", "{}", '{"hosts": {}}', '{"hosts": [1]}', "{" * 10_000])
def test_half_a_list_is_none_and_the_token_is_in_no_error(answer: Any) -> None:
    service, _ = fleet(page(PER_PAGE), answer)
    with pytest.raises(ProviderError) as caught:
        list(service.records())
    assert "secret-token" not in str(caught.value)
