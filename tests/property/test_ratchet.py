"""The ratchet: copies of a device betray each other within two heartbeats, and a machine that is alone never looks like two.

Agents and network are simulated: answers are lost, requests come late and twice, agents crash before and after they have kept
a nonce. The ratchet is the gateway's own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access.ratchet import Ratchet, Turn

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HEARTBEAT = timedelta(seconds=20)
TRIALS = 1000


@dataclass
class Gateway:
    """What `devices.take_turn` does with a ratchet, and every turn that it took."""

    ratchet: Ratchet = field(default_factory=Ratchet)
    issued: int = 0
    forked: bool = False

    def hears(self, nonce: str, said_at: datetime) -> tuple[Turn, str | None]:
        turn = self.ratchet.turn(nonce, said_at=said_at)
        if turn is Turn.FORK:
            self.forked = True
        if turn not in (Turn.NEXT, Turn.AGAIN):
            return turn, None
        self.issued += 1
        self.ratchet = self.ratchet.advanced(nonce, f"n{self.issued}", said_at=said_at)
        return turn, self.ratchet.current


@dataclass
class Agent:
    """A machine: the nonce on its disk, and the one that it goes on with."""

    kept: str = ""

    def speaks(
        self, gateway: Gateway, at: datetime, chance: random.Random, delayed: list[tuple[str, datetime]]
    ) -> None:
        """One heartbeat: tries until an answer comes through. What a try's fate is, the network draws."""
        nonce = self.kept
        for attempt in range(8):
            said_at = at + timedelta(milliseconds=attempt + 1)
            fate = chance.random() if attempt < 7 else 1.0
            if fate < 0.15:
                delayed.append((nonce, said_at))  # it comes some time later, or never
                continue
            _, answer = gateway.hears(nonce, said_at)
            if fate < 0.3 or answer is None:
                continue  # the answer is lost, or a refusal: say it again
            if fate < 0.4:
                return  # it crashes before the nonce is on the disk, and starts with the old one
            self.kept = answer
            return


def late_arrivals(gateway: Gateway, delayed: list[tuple[str, datetime]], chance: random.Random) -> None:
    for message in [one for one in delayed if chance.random() < 0.5]:
        delayed.remove(message)
        gateway.hears(*message)
        if chance.random() < 0.3:
            gateway.hears(*message)  # and twice


def alone(seed: int, beats: int = 30) -> Gateway:
    chance, gateway, agent, delayed = random.Random(seed), Gateway(), Agent(), []
    for beat in range(beats):
        agent.speaks(gateway, START + beat * HEARTBEAT, chance, delayed)
        late_arrivals(gateway, delayed, chance)
    return gateway


def test_a_machine_that_is_alone_never_looks_like_two_in_a_thousand_lives() -> None:
    assert [seed for seed in range(TRIALS) if alone(seed).forked] == []


def copied(seed: int) -> int:
    """How many heartbeats of both it takes from the copy's first word until the fork is seen. The network is quiet then."""
    chance, gateway, agent, delayed = random.Random(seed), Gateway(), Agent(), []
    before, age = chance.randrange(1, 12), chance.randrange(0, 4)
    copy: Agent | None = None
    at = START
    for beat in range(before):
        if beat == max(0, before - 1 - age):
            copy = replace(agent)
        agent.speaks(gateway, at, chance, delayed)
        at += HEARTBEAT
    assert not gateway.forked
    assert copy is not None
    quiet = random.Random()
    quiet.random = lambda: 1.0  # type: ignore[method-assign]
    for beats in range(1, 10):
        for machine in (copy, agent) if chance.random() < 0.5 else (agent, copy):
            at += HEARTBEAT / 2
            machine.speaks(gateway, at, quiet, delayed)
        if gateway.forked:
            return beats
    return 99


def test_a_copied_state_is_noticed_within_two_heartbeats_in_a_thousand_trials() -> None:
    took = [copied(seed) for seed in range(TRIALS)]
    assert max(took) <= 2


def test_the_original_may_be_the_one_that_is_noticed() -> None:
    gateway, original = Gateway(), Agent()
    quiet = random.Random(1)
    quiet.random = lambda: 1.0  # type: ignore[method-assign]
    original.speaks(gateway, START, quiet, [])
    copy = replace(original)
    copy.speaks(gateway, START + HEARTBEAT, quiet, [])
    assert not gateway.forked, "who speaks first cannot be told from the only one"
    original.speaks(gateway, START + 2 * HEARTBEAT, quiet, [])
    copy.speaks(gateway, START + 3 * HEARTBEAT, quiet, [])
    assert gateway.forked


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_retried_identical_message_is_no_evidence_whenever_it_comes(seed: int, beats: int) -> None:
    chance, gateway, agent = random.Random(seed), Gateway(), Agent()
    said: list[tuple[str, datetime]] = []
    for beat in range(beats):
        at = START + beat * HEARTBEAT
        said.append((agent.kept, at))
        _, answer = gateway.hears(agent.kept, at)
        known = gateway.ratchet
        for message in chance.sample(said, min(3, len(said))):
            turn, _ = gateway.hears(*message)
            assert turn is Turn.LATE, "this very message was accepted before"
        assert gateway.ratchet == known
        assert answer is not None
        agent.kept = answer
    assert not gateway.forked


@pytest.mark.parametrize(
    ("nonce", "later", "turn"),
    [
        ("now", 1, Turn.NEXT),
        ("now", -30, Turn.NEXT),
        ("before", 1, Turn.AGAIN),
        ("before", 0, Turn.LATE),
        ("before", -1, Turn.LATE),
        ("older", 1, Turn.FORK),
        ("older", 0, Turn.LATE),
        ("", 1, Turn.FORK),
    ],
)
def test_a_turn_follows_from_nonce_and_time(nonce: str, later: int, turn: Turn) -> None:
    ratchet = Ratchet("now", "before", START)
    assert ratchet.turn(nonce, said_at=START + timedelta(seconds=later)) is turn
    assert Ratchet().turn(nonce, said_at=START) is Turn.NEXT, "a device that is new, or was released"
