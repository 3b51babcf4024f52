"""Pairs that live for the whole run, so that a rekey happens for real while the other tests work."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.ends import End, pair
from tests.interop.programs import BUILT

THEIRS = ["wireguard-go", *BUILT]
REKEY_AFTER = 120
"""Seconds (WireGuard paper, section 6.1): the initiator begins a new handshake with the first packet after that."""


@dataclass
class Conversation:
    """A pinged pair: when it began, its first handshake, and the ping that runs all the time."""

    initiator: End
    responder: End
    began: float
    first_handshake: int
    ping: subprocess.Popen[str]

    def end(self) -> str:
        """End the ping (SIGINT, so that it sums up). Gives its summary."""
        self.ping.send_signal(2)
        return self.ping.communicate(timeout=20)[0]


@pytest.fixture(scope="session")
def conversations() -> Iterator[list[Conversation]]:
    with contextlib.ExitStack() as stack:
        found = []
        for initiator, responder in [
            pair for theirs in THEIRS for pair in (("sallyport", theirs), (theirs, "sallyport"))
        ]:
            one, other = stack.enter_context(pair(initiator, responder))
            one.ping(other, 4)
            command = one.host.command("ping", "-q", "-i", "0.2", "-w", "600", other.inner(4))
            ping = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(ping.kill)
            found.append(Conversation(one, other, time.monotonic(), one.latest_handshake, ping))
        yield found


@pytest.fixture(autouse=True)
def _conversations_run(conversations: list[Conversation]) -> None:
    """Every test of this folder lets them begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs two minutes of life comes last."""
    items.sort(key=lambda item: item.name.startswith("test_keys_are_renewed_under_traffic"))
