"""One session with the real gateway application on a loopback port: reports in order, lost answers, news and no news."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from agent import answers, https
from agent.client import Gateway
from agent.conversation import Conversation
from agent.device_key import DeviceKey
from agent.errors import Nonsense, Problem
from agent.wire import Fact
from gateway.web.app import make_app
from tests.sim.gateway import HEALTHY, World
from tests.unit.agent.conftest import Server
from tests.unit.agent.test_client import VERDICT, says_json


class Served:
    """A gateway that listens, and a device that is enrolled there."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.clock.time = datetime.now(UTC)
        self.world.tick()
        self.device = self.world.device()
        configuration = uvicorn.Config(
            make_app(self.world.deployment, work=False), host="127.0.0.1", port=0, log_level="error", lifespan="on"
        )
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.gateway = Gateway(f"http://127.0.0.1:{port}", DeviceKey(self.device.key), None)

    def close(self) -> None:
        self.gateway.close()
        self._server.should_exit = True
        self._thread.join(20)
        self.world.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def facts(**differences: Any) -> dict[str, Fact]:
    given = {**HEALTHY, **{name.replace("__", "."): value for name, value in differences.items()}}
    return {name: Fact(value, "test", time.time()) for name, value in given.items()}


def test_reports_follow_each_other_and_the_verdict_follows_the_facts(served: Served) -> None:
    conversation = Conversation(served.gateway)
    assert conversation.verdict.sequence == 0
    assert conversation.report(facts()).tier == "full"
    verdict = conversation.report(facts(firewall__enabled=False))
    assert (verdict.tier, verdict.sequence) == ("quarantine", 2)
    assert [(finding.check, finding.fix) for finding in verdict.refused] == [("firewall-on", "sudo ufw enable")]
    assert conversation.report(facts()).tier == "full"


def sizes(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of every body that is sent from now on."""
    told: list[int] = []
    ask = https.Connection.ask

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        told.append(len(named.get("body", b"")))
        return ask(self, *arguments, **named)

    monkeypatch.setattr(https.Connection, "ask", counted)
    return told


def test_a_heartbeat_names_the_facts_before_and_renews_like_a_report(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = sizes(served, monkeypatch)
    conversation = Conversation(served.gateway)
    conversation.report(facts(), whole=False)
    verdict = conversation.report(facts(), whole=False)
    assert (verdict.tier, verdict.sequence) == ("full", 2)
    assert told[-1] < 700 < told[-2], "a signature over a digest, and not the facts"
    assert conversation.report(facts(), whole=True).sequence == 3
    assert told[-1] > 700
    assert conversation.report(facts(firewall__enabled=False), whole=False).tier == "quarantine"
    assert conversation.report(facts(firewall__enabled=False), whole=False).tier == "quarantine"


def test_facts_that_the_gateway_does_not_hold_are_asked_for_and_sent(served: Served) -> None:
    conversation = Conversation(served.gateway)
    conversation.report(facts())
    conversation._held = facts(firewall__enabled=False)
    verdict = conversation.report(facts(firewall__enabled=False), whole=False)
    assert (verdict.tier, verdict.sequence) == ("quarantine", 2), "never judged by the facts of before"


def test_the_facts_of_a_session_before_are_none_of_this_one(served: Served) -> None:
    before = Conversation(served.gateway)
    before.report(facts())
    conversation = Conversation(served.gateway)
    conversation._held = before._held
    assert conversation.report(facts(), whole=False).sequence == 1
    assert conversation.verdict.tier == "full"


def test_a_credential_is_a_tunnel_that_can_be_used(served: Served) -> None:
    conversation = Conversation(served.gateway)
    conversation.report(facts())
    config = conversation.credential(served.device.public_key)
    assert (config.endpoint, config.mtu) == ("192.0.2.1:51820", 1420)
    assert served.world.tunnel.permits(served.device.public_key)


def test_an_answer_that_was_lost_on_the_way_is_made_up_for(served: Served) -> None:
    conversation = Conversation(served.gateway)
    behind = Conversation.__new__(Conversation)
    behind.__dict__.update(conversation.__dict__)
    conversation.report(facts())
    conversation.report(facts())
    assert behind.verdict.sequence == 0
    assert behind.report(facts()).sequence == 3


def test_a_session_that_was_killed_refuses_the_next_report_once_and_for_all(served: Served) -> None:
    conversation = Conversation(served.gateway)
    conversation.report(facts())
    served.gateway.leave(conversation.session)
    with pytest.raises(Problem) as caught:
        conversation.report(facts())
    assert caught.value.code == "session-ended"
    assert "session.ended" in served.world.audit()


def test_news_is_what_changes_something_for_the_person(served: Served) -> None:
    conversation = Conversation(served.gateway)
    verdict = conversation.report(facts())
    assert not conversation.told(replace(verdict, lease_ms=1))
    assert conversation.verdict.lease_ms == 1
    assert conversation.told(replace(verdict, tier="limited"))
    assert conversation.verdict.tier == "limited"


def test_a_verdict_of_an_older_report_or_another_session_is_no_news(served: Served) -> None:
    conversation = Conversation(served.gateway)
    first = conversation.report(facts())
    conversation.report(facts())
    assert not conversation.told(replace(first, tier="denied"))
    assert not conversation.told(replace(conversation.verdict, session="other", tier="denied"))
    assert conversation.verdict.tier == "full"


def test_the_event_stream_tells_of_a_verdict_and_of_the_end(served: Served) -> None:
    conversation = Conversation(served.gateway)
    conversation.report(facts())
    events = served.gateway.events(conversation.session)
    name, data = next(events)
    assert name == "verdict"
    assert answers.verdict(data).tier == "full"
    served.gateway.leave(conversation.session)
    served.world.tick()
    assert next(found for found, _ in events if found == "ended")


@pytest.fixture
def scripted(server: Server, device_key: DeviceKey) -> Iterator[Gateway]:
    made = Gateway(server.url, device_key, None)
    yield made
    made.close()


def test_an_answer_for_another_session_is_refused(server: Server, scripted: Gateway) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted)
    server.answer = lambda request: says_json(request, VERDICT | {"session": "other", "sequence": 1})
    with pytest.raises(Nonsense, match="another session"):
        conversation.report(facts())
    assert conversation.verdict.session == "abc"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"sequence": "6", "nonce": "n"},
        {"sequence": True, "nonce": "n"},
        {"sequence": 6},
        {"sequence": 6, "nonce": 5},
    ],
)
def test_a_gateway_that_refuses_without_saying_where_we_stand_is_not_asked_again(
    server: Server, scripted: Gateway, members: dict[str, Any]
) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted)
    refusal = {"code": "report-out-of-order", "detail": "x", **members}
    server.answer = lambda request: says_json(request, refusal, status=409)
    with pytest.raises((Problem, Nonsense)):
        conversation.report(facts())
    assert len(server.asked) == 2


def test_a_gateway_that_always_says_out_of_order_is_asked_twice(server: Server, scripted: Gateway) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted)
    refusal = {"code": "report-out-of-order", "detail": "x", "sequence": 6, "nonce": "n"}
    server.answer = lambda request: says_json(request, refusal, status=409)
    with pytest.raises(Problem):
        conversation.report(facts())
    assert len(server.asked) == 3


def test_a_public_key_is_sent_as_base64(server: Server, scripted: Gateway) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted)
    server.answer = lambda request: says_json(request, {"tunnel": None})
    with contextlib.suppress(Nonsense):
        conversation.credential(bytes(range(32)))
    claims = server.asked[1][3].split(b".")[1]
    said = base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4))
    assert base64.b64encode(bytes(range(32))) in said
