"""Sessions that a gateway ends the moment they have begun, with a real tunnel each time."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.device_key import DeviceKey
from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from tests.unit.agent.conftest import Request, Server
from tests.unit.agent.test_answers import TUNNEL
from tests.unit.agent.test_client import VERDICT, says, says_json, with_tokens
from tests.unit.agent.test_run import Running, eventually

INTERFACE = f"sp{os.getpid()}s"
ENDED = b'event: ended\ndata: {"reason": "superseded\\u001b[31m\\u0007"}\n\n'


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host.create("laptop", mark=f"{namespaces.owner_mark()}-sessions")
    yield made
    made.remove()


def test_sessions_that_end_at_once_are_begun_less_and_less_often_and_leave_nothing(host: Host, tmp_path: Path) -> None:
    times: list[float] = []
    seen: list[str] = []

    def answer(request: Request) -> None:
        if request.path == "/v1/sessions":
            times.append(time.monotonic())
            seen.append(host.ip("-o", "link"))
            says_json(request, VERDICT, status=201)
        elif request.path.endswith("/reports"):
            says_json(request, {**VERDICT, "sequence": 1})
        elif request.path.endswith("/credential"):
            says_json(request, {"tunnel": {**TUNNEL, "endpoint": "127.0.0.1:9"}})
        elif request.path.endswith("/events"):
            says(request, ENDED, content_type="text/event-stream")
        else:
            says(request, b"", status=204)

    with host.entered():
        server = Server()
    server.answer = with_tokens(answer)
    running = Running(server, DeviceKey(ec.generate_private_key(ec.SECP256R1())), tmp_path / "state", INTERFACE)
    running.start(host.entered())
    eventually(lambda: len(times) >= 4)
    running.stop()
    server.close()

    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap > wanted for gap, wanted in zip(gaps, (0.4, 0.9, 1.9), strict=False))
    assert [line for line in running.said if line.startswith("ended: superseded")]
    assert all(line.isprintable() for line in running.said), "nothing that a terminal obeys"
    assert not any(INTERFACE in links for links in seen), (
        "the tunnel of an ended session is down before the next begins"
    )
    assert INTERFACE not in host.ip("-o", "link")
