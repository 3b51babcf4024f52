"""Who is told of a change of tier, and what."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from agent import notify
from tests.unit.agent.test_status import FULL, QUARANTINE


def test_every_change_of_tier_is_told_with_the_fix_and_nothing_else_is() -> None:
    told = notify.text(FULL, QUARANTINE)
    assert told is not None
    assert told[0] == "Access: quarantine"
    assert "Fix: sudo ufw enable" in told[1]
    assert told[2] == notify.CRITICAL
    back = notify.text(QUARANTINE, FULL)
    assert back is not None
    assert (back[0], back[2]) == ("Access: full", notify.LOW)
    assert notify.text(FULL, replace(FULL, sequence=9)) is None
    assert notify.text(replace(FULL, sequence=0), FULL) is not None, "the first verdict of a session"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    for name in ("1000", "1001", "nobody", "1002"):
        (tmp_path / name).mkdir()
    for name in ("1000", "nobody"):
        with socket.socket(socket.AF_UNIX) as bus:
            bus.bind(str(tmp_path / name / "bus"))
    os.chown(tmp_path / "1000", 1000, 1000)
    return tmp_path


def test_those_who_have_a_bus_of_their_own_are_told_under_their_own_number(users: Path) -> None:
    commands = list(notify.desktops("Access: full", "a <b> & c", notify.LOW, users=users))
    assert len(commands) == 1
    command = commands[0]
    assert command[:3] == ["setpriv", "--reuid", "1000"]
    assert f"--address=unix:path={users}/1000/bus" in command
    assert "a &lt;b&gt; &amp; c" in command


def test_a_folder_that_pretends_to_be_somebody_is_passed_over(users: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(users / "1001" / "bus"))
    assert len(list(notify.desktops("t", "b", notify.LOW, users=users))) == 1, "1001 belongs to root"


def test_a_machine_without_desktops_has_nobody_to_tell(tmp_path: Path) -> None:
    assert list(notify.desktops("t", "b", notify.LOW, users=tmp_path / "nowhere")) == []
