"""One session with the real gateway application on a loopback port: reports in order, lost answers, news and no news."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
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
from agent.errors import Nonsense, Problem, Unreachable
from agent.tpm import Tpm
from agent.wire import Fact
from gateway.identity.tokens import Mint
from gateway.web.app import make_app
from tests.sim.gateway import HEALTHY, World
from tests.unit.agent.conftest import Server
from tests.unit.agent.test_client import VERDICT, says_json, with_tokens


class Kept:
    """The nonce of an agent, in memory."""

    def __init__(self, nonce: str = "") -> None:
        self.latest = nonce

    def nonce(self) -> str:
        return self.latest

    def keep_nonce(self, nonce: str) -> None:
        self.latest = nonce


class Served:
    """A gateway that listens, and a device that is enrolled there."""

    def __init__(self, folder: Path, **differences: Any) -> None:
        self.world = World(folder)
        self.world.clock.time = datetime.now(UTC)
        self.world.tick()
        self.device = self.world.device()
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.world.deployment = replace(self.world.deployment, public_url=url, mint=Mint(bytes(32), url), **differences)
        configuration = uvicorn.Config(make_app(self.world.deployment, work=False), log_level="error", lifespan="on")
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.gateway = Gateway(url, DeviceKey(self.device.key), None)
        self.state = Kept()

    def converse(self, tpm: Tpm | None = None) -> Conversation:
        return Conversation(self.gateway, self.state, tpm)

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
    conversation = served.converse()
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
    conversation = served.converse()
    conversation.report(facts(), whole=False)
    verdict = conversation.report(facts(), whole=False)
    assert (verdict.tier, verdict.sequence) == ("full", 2)
    assert told[-1] < 700 < told[-2], "a signature over a digest, and not the facts"
    assert conversation.report(facts(), whole=True).sequence == 3
    assert told[-1] > 700
    assert conversation.report(facts(firewall__enabled=False), whole=False).tier == "quarantine"
    assert conversation.report(facts(firewall__enabled=False), whole=False).tier == "quarantine"


def test_facts_that_the_gateway_does_not_hold_are_asked_for_and_sent(served: Served) -> None:
    conversation = served.converse()
    conversation.report(facts())
    conversation._held = facts(firewall__enabled=False)
    verdict = conversation.report(facts(firewall__enabled=False), whole=False)
    assert (verdict.tier, verdict.sequence) == ("quarantine", 2), "never judged by the facts of before"


def test_the_facts_of_a_session_before_are_none_of_this_one(served: Served) -> None:
    before = served.converse()
    before.report(facts())
    conversation = served.converse()
    conversation._held = before._held
    assert conversation.report(facts(), whole=False).sequence == 1
    assert conversation.verdict.tier == "full"


def test_a_credential_is_a_tunnel_that_can_be_used(served: Served) -> None:
    conversation = served.converse()
    conversation.report(facts())
    config = conversation.credential(served.device.public_key)
    assert (config.endpoint, config.mtu) == ("192.0.2.1:51820", 1420)
    assert served.world.tunnel.permits(served.device.public_key)


def losing_answers(gateway: Gateway, name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway hears the next `times` calls of this method, and its answers are lost."""
    honest, left = getattr(gateway, name), [times]

    def lossy(*arguments: Any) -> Any:
        answer = honest(*arguments)
        left[0] -= 1
        if left[0] >= 0:
            raise Unreachable("the answer was lost")
        return answer

    monkeypatch.setattr(gateway, name, lossy)


def test_answers_that_were_lost_on_the_way_are_made_up_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = served.converse()
    conversation.report(facts())
    losing_answers(served.gateway, "report", 3, monkeypatch)
    for _ in range(3):
        with pytest.raises(Unreachable):
            conversation.report(facts(firewall__enabled=False))
    assert conversation.report(facts()).sequence == 2
    assert conversation.report(facts()).tier == "full"
    assert "device.quarantined" not in served.world.audit()


def test_an_opening_whose_answer_was_lost_is_made_up_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    losing_answers(served.gateway, "begin_session", 2, monkeypatch)
    for _ in range(2):
        with pytest.raises(Unreachable):
            served.converse()
    assert served.converse().report(facts()).tier == "full"
    assert "device.quarantined" not in served.world.audit()


def test_an_agent_that_starts_again_goes_on_where_it_was(served: Served) -> None:
    for _ in range(3):
        served.converse().report(facts())
    assert "device.quarantined" not in served.world.audit()


def test_a_copied_state_folder_confines_both_copies(served: Served) -> None:
    original = served.converse()
    original.report(facts())
    copy = Kept(served.state.latest)
    original.report(facts())
    Conversation(served.gateway, copy)
    with pytest.raises(Problem) as caught:
        original.report(facts())
    assert caught.value.code == "device-copied"
    for state in (served.state, copy):
        verdict = Conversation(served.gateway, state).report(facts())
        assert (verdict.tier, [finding.check for finding in verdict.refused]) == ("quarantine", ["device-copied"])


def test_a_session_that_was_killed_refuses_the_next_report_once_and_for_all(served: Served) -> None:
    conversation = served.converse()
    conversation.report(facts())
    served.gateway.leave(conversation.session)
    with pytest.raises(Problem) as caught:
        conversation.report(facts())
    assert caught.value.code == "session-ended"
    assert "session.ended" in served.world.audit()


def test_news_is_what_changes_something_for_the_person(served: Served) -> None:
    conversation = served.converse()
    verdict = conversation.report(facts())
    assert not conversation.told(replace(verdict, lease_ms=1))
    assert conversation.verdict.lease_ms == 1
    assert conversation.told(replace(verdict, tier="limited"))
    assert conversation.verdict.tier == "limited"


def test_a_verdict_of_an_older_report_or_another_session_is_no_news(served: Served) -> None:
    conversation = served.converse()
    first = conversation.report(facts())
    conversation.report(facts())
    assert not conversation.told(replace(first, tier="denied"))
    assert not conversation.told(replace(conversation.verdict, session="other", tier="denied"))
    assert conversation.verdict.tier == "full"


def test_the_event_stream_tells_of_a_verdict_and_of_the_end(served: Served) -> None:
    conversation = served.converse()
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
    conversation = Conversation(scripted, Kept())
    server.answer = lambda request: says_json(request, VERDICT | {"session": "other", "sequence": 1})
    with pytest.raises(Nonsense, match="another session"):
        conversation.report(facts())
    assert conversation.verdict.session == "abc"


@pytest.mark.parametrize(("code", "asked"), [("report-out-of-order", 2), ("report-replayed", 3), ("x", 2)])
def test_a_gateway_that_refuses_every_report_is_asked_a_bounded_number_of_times(
    server: Server, scripted: Gateway, code: str, asked: int
) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted, Kept())
    server.answer = lambda request: says_json(request, {"code": code, "detail": "x"}, status=409)
    with pytest.raises(Problem):
        conversation.report(facts())
    assert len(server.asked) == asked


def test_a_public_key_is_sent_as_base64(server: Server, scripted: Gateway) -> None:
    server.answer = lambda request: says_json(request, VERDICT)
    conversation = Conversation(scripted, Kept())
    server.answer = with_tokens(lambda request: says_json(request, {"tunnel": None}))
    with contextlib.suppress(Nonsense):
        conversation.credential(bytes(range(32)))
    assert json.loads(server.asked[-1][3]) == {"public_key": base64.b64encode(bytes(range(32))).decode()}
