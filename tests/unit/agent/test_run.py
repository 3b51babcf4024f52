"""The running agent at gateways that end, deny and lie: it waits longer each time and shows nothing that a terminal obeys."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.client import Gateway
from agent.collect import SLOW, Collection
from agent.device_key import DeviceKey
from agent.footprint import Footprint
from agent.run import Agent
from agent.state import State
from agent.status import StatusBoard
from agent.tunnel import Tunnel
from agent.watch import Watches
from agent.wire import Enrolment
from tests.unit.agent.conftest import Request, Server
from tests.unit.agent.test_client import VERDICT, says_json


class Running:
    """An agent in a thread, on a state folder of its own."""

    def __init__(self, server: Server, key: DeviceKey, folder: Path, interface: str = "spnever") -> None:
        self.state = State(folder)
        self.state.prepare()
        self.said: list[str] = []
        self._lock = self.state.alone()
        self._lock.__enter__()
        self.gateway = Gateway(server.url, key, None)
        self._watches = Watches([], login=self.state.enrolment_file)
        tunnel = Tunnel(interface, None, Footprint(folder))
        board = StatusBoard(self.state, Enrolment(server.url, key.id, "alice"), tunnel, [])
        self.agent = Agent(
            self.gateway, Collection([]), self._watches, tunnel, board, nonce=self.state, say=self.said.append
        )

    def start(self, within: contextlib.AbstractContextManager[None] | None = None) -> None:
        """Start; `within` is entered by the agent's thread."""

        def work() -> None:
            with within or contextlib.nullcontext():
                self.agent.run()

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def status(self) -> dict[str, Any]:
        return self.state.status() or {}

    def stop(self) -> None:
        self.agent.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        for thread in threading.enumerate():
            if thread.name in SLOW:
                thread.join(120)  # what it finds goes into the inbox
        self._watches.close()
        self.agent.inbox.close()
        self.gateway.close()
        self._lock.__exit__(None, None, None)


@pytest.fixture
def running(server: Server, device_key: DeviceKey, folder: Path) -> Iterator[Running]:
    made = Running(server, device_key, folder)
    yield made
    made.stop()


def eventually(look: Any, *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sessions(server: Server) -> int:
    return sum(path == "/v1/sessions" for _, path, _, _ in server.asked)


def test_a_gateway_that_ends_every_session_at_once_is_asked_less_and_less_often(
    server: Server, running: Running
) -> None:
    times: list[float] = []

    def answer(request: Request) -> None:
        if request.path == "/v1/sessions":
            times.append(time.monotonic())
            says_json(request, VERDICT, status=201)
        else:
            says_json(request, {"code": "session-ended", "detail": "superseded\x1b[31m"}, status=409)

    server.answer = answer
    running.start()
    eventually(lambda: len(times) >= 4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap > wanted for gap, wanted in zip(gaps, (0.4, 0.9, 1.9), strict=False))
    assert all(line.isprintable() for line in running.said)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("login-required", "login-required"),
        ("device-unknown", "login-required"),
        ("denied", "denied"),
        ("device-pending", "pending"),
        ("device-revoked", "revoked"),
    ],
)
def test_where_only_a_person_can_help_the_agent_waits_for_one(
    server: Server, running: Running, code: str, state: str
) -> None:
    server.answer = lambda request: says_json(request, {"code": code, "detail": "the policy denies this"}, status=403)
    running.start()
    eventually(lambda: running.status().get("state") == state)
    assert sessions(server) == 1
    running.state.keep_enrolment(Enrolment(server.url, "device", "alice"), None)
    eventually(lambda: sessions(server) == 2)


def test_an_unreachable_gateway_is_tried_again_and_said_once(server: Server, running: Running) -> None:
    server.answer = lambda request: request.send_error(502)
    running.start()
    eventually(lambda: sessions(server) >= 3)
    assert running.status()["state"] == "unreachable"
    assert len(running.said) == 1


def test_a_stop_ends_every_wait(server: Server, running: Running) -> None:
    running.start()
    time.sleep(0.05)
    running.agent.stop()
    eventually(lambda: not running._thread.is_alive())
    assert server.asked == [] or sessions(server) == 1
