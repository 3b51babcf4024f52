"""What other threads tell the main one, and how long they go on listening to the gateway."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator

import pytest

from agent.client import Gateway
from agent.device_key import DeviceKey
from agent.inbox import Inbox, follow_events
from tests.unit.agent.conftest import Server
from tests.unit.agent.test_client import hang_up, says, says_json, streams, with_tokens


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@pytest.fixture
def gateway(server: Server, device_key: DeviceKey) -> Iterator[Gateway]:
    made = Gateway(server.url, device_key, None)
    yield made
    made.close()
    for thread in threading.enumerate():
        if thread.name == "events":
            thread.join(20)


def readable(inbox: Inbox, within: float = 0.0) -> bool:
    return bool(select.select([inbox], [], [], within)[0])


def taken(inbox: Inbox, count: int) -> list[object]:
    items: list[object] = []
    deadline = time.monotonic() + 20
    while len(items) < count and time.monotonic() < deadline:
        readable(inbox, 0.1)
        inbox.drain()
        items += inbox.take()
    return items


def test_an_inbox_is_readable_while_something_lies_in_it(inbox: Inbox) -> None:
    assert not readable(inbox)
    inbox.put("facts", {"a": 1})
    inbox.put("stop", None)
    assert readable(inbox)
    inbox.drain()
    assert not readable(inbox)
    assert inbox.take() == [("facts", {"a": 1}), ("stop", None)]
    assert inbox.take() == []


def test_nothing_is_lost_when_nobody_reads_for_a_long_time(inbox: Inbox) -> None:
    for number in range(100_000):
        inbox.put("event", number)
    inbox.drain()
    assert [value for _, value in inbox.take()] == list(range(100_000))
    inbox.put("event", "later")
    assert readable(inbox)


def test_items_of_many_threads_arrive_once_and_in_the_order_of_each(inbox: Inbox) -> None:
    def work(name: str) -> None:
        for number in range(1000):
            inbox.put(name, number)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    items = taken(inbox, 4000)
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [value for name, value in items if name == str(number)] == list(range(1000))  # type: ignore[misc]


def test_events_are_left_in_the_inbox_until_the_session_has_ended(
    server: Server, gateway: Gateway, inbox: Inbox
) -> None:
    streams(server, b'event: verdict\ndata: {"a": 1}\n\nevent: ended\ndata: {"reason": "killed"}\n\n')
    follow_events(gateway, "abc", inbox)
    assert taken(inbox, 2) == [
        ("event", ("abc", "verdict", {"a": 1})),
        ("event", ("abc", "ended", {"reason": "killed"})),
    ]
    assert sum(path != "/v1/token" for _, path, _, _ in server.asked) == 1


def test_a_broken_stream_is_taken_up_again(server: Server, gateway: Gateway, inbox: Inbox) -> None:
    answers = [hang_up, lambda request: says(request, b"no stream", status=502), None]

    def answer(request: object) -> None:
        asked = sum(path != "/v1/token" for _, path, _, _ in server.asked)
        chosen = answers[min(asked, len(answers)) - 1]
        if chosen is None:
            streams(server, b'event: ended\ndata: {"reason": "left"}\n\n')
            chosen = server.answer
        chosen(request)  # type: ignore[arg-type]

    server.answer = with_tokens(answer)
    follow_events(gateway, "abc", inbox)
    assert taken(inbox, 2) == [("event", ("abc", "lost", {})), ("event", ("abc", "ended", {"reason": "left"}))]
    assert sum(path != "/v1/token" for _, path, _, _ in server.asked) == 3


@pytest.mark.parametrize("status", [401, 404, 409])
def test_a_session_that_the_gateway_does_not_know_any_more_has_ended(
    server: Server, gateway: Gateway, inbox: Inbox, status: int
) -> None:
    server.answer = lambda request: says_json(
        request, {"code": "session-ended", "detail": "x", "reason": "idle"}, status=status
    )
    follow_events(gateway, "abc", inbox)
    assert taken(inbox, 1) == [("event", ("abc", "ended", {"reason": "idle"}))]


def test_nobody_follows_a_gateway_that_was_closed(server: Server, gateway: Gateway, inbox: Inbox) -> None:
    server.answer = hang_up
    follow_events(gateway, "abc", inbox)
    follower = next(thread for thread in threading.enumerate() if thread.name == "events")
    gateway.close()
    follower.join(20)
    assert not follower.is_alive()
