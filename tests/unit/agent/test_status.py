"""What a person and a program are told: connected means that packets can flow, and nothing less."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import answers
from agent.answers import Finding, Resource, Verdict
from agent.errors import AgentError
from agent.footprint import Footprint
from agent.state import State
from agent.status import WORDS, StatusBoard, changes, clock, connected, explained, picture
from agent.tunnel import Tunnel, parse_dump
from agent.uapi import PeerState
from agent.wire import Enrolment

NOW = 1_000_000.0
BEAT = 0.004
FINDING = Finding("firewall-on", "the firewall is off", "quarantine", True, NOW - 60, None, "sudo ufw enable")
GRACE = Finding("patched", "3 updates wait", "limited", False, NOW, NOW + 600, None)
WIKI = Resource("wiki", ("10.20.0.10/32",), ("tcp/443",))
FULL = Verdict("abc", "full", (), (WIKI,), 3, 60000, 20000, "1")
QUARANTINE = replace(FULL, tier="quarantine", findings=(FINDING,), resources=(), sequence=4)


def status(state: str = "connected", **differences: Any) -> dict[str, Any]:
    made = {
        "state": state,
        "since": NOW - 100,
        "lease_until": NOW + 30,
        "gateway": "https://gateway.example",
        "user": "alice",
        "interface": "sallyport",
        "backend": "sallyport-tunnel",
        "problem": None,
    }
    return {**made, **differences}


@pytest.mark.parametrize(
    ("state", "lease", "beat"),
    [*itertools.product([*WORDS, "nonsense"], [NOW + 1, NOW, NOW - 1, None, "text"], [0.004, None])],
)
def test_connected_means_that_a_packet_came_back_and_the_lease_runs(state: str, lease: Any, beat: float | None) -> None:
    expected = state in ("connected", "unreachable") and lease == NOW + 1 and beat is not None
    given = status(state, lease_until=lease)
    assert connected(given, beat, now=NOW) is expected
    first = next(iter(picture(given, None, beat, now=NOW)))
    assert first.startswith("connected") is expected


def test_the_screen_shows_tier_reach_reason_and_fix() -> None:
    lines = "\n".join(picture(status(), QUARANTINE, BEAT, now=NOW))
    for text in ("connected since", "alice", "tier      quarantine", "the firewall is off", "fix: sudo ufw enable"):
        assert text in lines
    lines = "\n".join(picture(status(), FULL, BEAT, now=NOW))
    assert "reaches   wiki: 10.20.0.10/32 tcp/443" in lines
    assert "findings  none" in lines


def test_the_screen_says_what_comes_next_and_when() -> None:
    verdict = replace(FULL, findings=(GRACE,), expires_at=NOW + 3600)
    lines = [line for line in picture(status(), verdict, BEAT, now=NOW) if line.startswith("next")]
    assert [clock(NOW + seconds) in line for seconds, line in zip((30, 600, 3600), lines, strict=True)] == [True] * 3
    assert "unless patched is fixed" in lines[1]
    assert "login" in lines[2]


def test_an_unreachable_gateway_does_not_hide_a_tunnel_that_works() -> None:
    given = status("unreachable", problem="the gateway cannot be reached")
    lines = [*picture(given, FULL, BEAT, now=NOW)]
    assert lines[0].startswith("connected, but the gateway does not answer the agent")
    assert any(line.startswith("next") and clock(NOW + 30) in line for line in lines), "until when it works"
    assert next(picture(given, FULL, None, now=NOW)).startswith("not connected")


def test_what_is_protected_and_what_is_missing_of_it_is_said() -> None:
    given = status(protected=["10.20.0.0/16"], shortcomings=["nft is missing: install nftables"])
    lines = "\n".join(picture(given, None, None, now=NOW))
    assert "10.20.0.0/16: through the tunnel or not at all" in lines
    assert "incomplete: nft is missing" in lines


def test_the_screen_of_an_agent_that_waits_for_a_person_says_what_to_do() -> None:
    given = status("login-required", problem="run sallyport-agent login", backend=None)
    lines = "\n".join(picture(given, None, None, now=NOW))
    assert "not connected: a login is needed" in lines
    assert "run sallyport-agent login" in lines
    assert "no tunnel" in lines


def test_a_new_verdict_is_told_by_what_it_changes() -> None:
    assert list(changes(replace(FULL, sequence=0), FULL)) == ["tier full: wiki"]
    assert list(changes(FULL, FULL)) == []
    assert list(changes(FULL, replace(FULL, lease_ms=1, sequence=9))) == []
    assert list(changes(FULL, QUARANTINE)) == [
        "tier quarantine: nothing",
        "  firewall-on: the firewall is off (leads to quarantine)",
        "    fix: sudo ufw enable",
    ]
    assert list(changes(QUARANTINE, FULL)) == ["tier full: wiki", "  resolved: firewall-on"]


def test_what_another_login_would_open_is_told_once_with_the_command() -> None:
    closed = replace(FULL, step_up=(answers.StepUp("payroll", 3600, ("phr",)),))
    told = "payroll: it needs a login of the class phr, at most 60 minutes old: sallyport-agent login --for payroll"
    assert f"closed    {told}" in list(picture(status(), closed, BEAT, now=NOW))
    assert list(changes(FULL, closed)) == [f"  {told.replace('payroll:', 'payroll is closed:', 1)}"]
    assert list(changes(closed, closed)) == []
    assert answers.verdict(json.loads(json.dumps(closed.to_json()))) == closed


def test_a_grace_says_until_when_and_a_warning_that_it_is_one() -> None:
    assert "will lead to limited at" in next(explained(GRACE))
    assert "(a warning)" in next(explained(replace(GRACE, grace_until=None)))


@pytest.fixture
def board(tmp_path: Path) -> tuple[StatusBoard, State]:
    state = State(tmp_path)
    return StatusBoard(
        state, Enrolment("https://gateway.example", "device", "alice"), Tunnel("spx", None, Footprint(tmp_path)), ["x"]
    ), state


def test_the_board_publishes_and_says_whether_it_is_news(board: tuple[StatusBoard, State]) -> None:
    published, state = board
    with state.alone():
        assert published.publish("connected", verdict=FULL)
        assert not published.publish("connected", verdict=QUARANTINE)
        said = state.status()
        assert said is not None
        assert answers.verdict(said["verdict"]) == QUARANTINE
        assert (said["state"], said["user"], said["unwatched"]) == ("connected", "alice", ["x"])
        assert published.publish("unreachable", problem="a")
        assert not published.publish("unreachable", problem="a")
        assert published.publish("unreachable", problem="b")


def test_a_lease_ends_when_the_gateway_was_last_heard_and_is_not_made_longer_by_trying(
    board: tuple[StatusBoard, State],
) -> None:
    published, state = board
    with state.alone():
        published.publish("connected", verdict=FULL)
        first = state.status()
        published.publish("unreachable", verdict=FULL, problem="a")
        second = state.status()
    assert first is not None
    assert second is not None
    assert first["lease_until"] == second["lease_until"]
    assert first["lease_until"] - first["updated_at"] == pytest.approx(60, abs=1)


def test_a_backend_that_is_none_is_one_clear_error() -> None:
    with pytest.raises(
        AgentError, match="nonsense is not installed; install one of kernel, sallyport-tunnel, wireguard-go"
    ):
        Tunnel("spx", "nonsense", Footprint(Path()))


def test_an_interface_that_was_never_made_is_not_lost() -> None:
    assert not Tunnel("spx", None, Footprint(Path())).lost()


DUMP = (
    "cHJpdmF0ZQ==\tcHVibGlj\t51820\toff\ncGVlcg==\t(none)\t198.51.100.1:51820\t10.20.0.0/16\t1700000000\t100\t200\t25\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DUMP, PeerState(1_700_000_000, 100, 200)),
        ("", None),
        (DUMP.splitlines()[0], None),
        (DUMP.replace("1700000000", "never"), None),
        (DUMP.replace("\t25", ""), None),
        ("Unable to access interface: No such device\n", None),
        ("\0" * 1000, None),
    ],
)
def test_the_kernels_peer_is_read_from_wg_dump(text: str, expected: PeerState | None) -> None:
    assert parse_dump(text) == expected
