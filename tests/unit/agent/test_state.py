"""The state folder: replaced as a whole, used by one agent at a time, and clear about what is damaged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.state import State
from agent.wire import Enrolment

ENROLMENT = Enrolment("https://gateway.example", "device", "alice")


@pytest.fixture
def state(folder: Path) -> State:
    made = State(folder)
    made.prepare()
    return made


def test_the_folder_and_all_in_it_belong_to_the_agent_alone(state: State, tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("a certificate")
    state.key_or_new()
    state.keep_enrolment(ENROLMENT, authority)
    state.keep_status({"state": "connected"})
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.folder.iterdir()}
    assert set(files) == {"device.pem", "enrolment.json", "authority.pem", "status.json"}
    assert {mode for name, mode in files.items() if name != "status.json"} == {0o600}


def test_an_enrolment_is_read_as_it_was_kept(state: State) -> None:
    state.keep_enrolment(ENROLMENT, None)
    assert state.enrolment() == ENROLMENT
    assert state.authority() is None


def test_a_second_login_may_name_the_authority_that_is_kept(state: State, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("a certificate")
    state.keep_enrolment(ENROLMENT, tmp_path / "ca.crt")
    state.keep_enrolment(ENROLMENT, state.authority())
    kept = state.authority()
    assert kept is not None
    assert kept.read_text() == "a certificate"


def test_an_enrolment_without_an_authority_forgets_the_earlier_one(state: State, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("a certificate")
    state.keep_enrolment(ENROLMENT, tmp_path / "ca.crt")
    state.keep_enrolment(ENROLMENT, None)
    assert state.authority() is None


def test_a_reader_never_sees_half_a_file(state: State) -> None:
    state.keep_enrolment(ENROLMENT, None)
    with state.enrolment_file.open() as opened:
        before = os.fstat(opened.fileno()).st_ino
        state.keep_enrolment(Enrolment("https://other.example", "device", "bob"), None)
        assert '"alice"' in opened.read()
    assert state.enrolment_file.stat().st_ino != before
    assert state.enrolment().user == "bob"


def test_a_write_that_fails_leaves_the_old_file(state: State, tmp_path: Path) -> None:
    state.keep_enrolment(ENROLMENT, None)
    with pytest.raises(OSError):
        state.keep_enrolment(Enrolment("https://other.example", "device", "bob"), tmp_path / "missing")
    assert state.enrolment() == ENROLMENT


def test_what_a_power_cut_left_half_written_is_not_read(state: State) -> None:
    state.keep_enrolment(ENROLMENT, None)
    (state.folder / "enrolment.json.new").write_text('{"gateway": "https://ev')
    assert state.enrolment() == ENROLMENT
    state.keep_enrolment(ENROLMENT, None)
    assert not (state.folder / "enrolment.json.new").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{}",
        b'{"gateway": "https://g", "device": "d"}',
        b'{"gateway": 5, "device": "d", "user": "u"}',
        b'{"gateway": {"a": 1}, "device": "d", "user": "u"}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda content: ascii(content[:20]),
)
def test_a_damaged_enrolment_gives_one_clear_error(folder: Path, content: bytes) -> None:
    state = State(folder)
    state.prepare()
    state.enrolment_file.write_bytes(content)
    with pytest.raises(AgentError, match="enrol again"):
        state.enrolment()
    done = subprocess.run(
        [sys.executable, "-m", "agent", "status"],
        env={**os.environ, "SALLYPORT_AGENT_STATE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("error: ")


def test_without_an_enrolment_the_error_names_the_command(folder: Path) -> None:
    with pytest.raises(AgentError, match="sallyport-agent enrol URL"):
        State(folder).enrolment()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match="cannot be made"):
        State(tmp_path / "file" / "state").prepare()


def test_a_key_that_cannot_be_written_is_an_error(folder: Path) -> None:
    with pytest.raises(AgentError, match="cannot be written"):
        State(folder).key_or_new()


def test_a_second_enrolment_keeps_the_devices_name(state: State) -> None:
    assert state.key_or_new().id == state.key_or_new().id == state.key().id


def test_a_dangling_link_in_place_of_the_key_is_refused_and_not_followed(state: State) -> None:
    (state.folder / "device.pem").symlink_to(state.folder / "elsewhere")
    with pytest.raises(AgentError):
        state.key_or_new()
    assert not (state.folder / "elsewhere").exists()


def test_a_second_agent_on_the_same_folder_is_refused(state: State) -> None:
    with state.alone(), pytest.raises(AgentError, match="runs already"), State(state.folder).alone():
        raise AssertionError("two agents")
    with State(state.folder).alone():
        pass


def test_a_status_is_that_of_a_running_agent_only(state: State) -> None:
    with state.alone():
        state.keep_status({"state": "connected"})
        assert State(state.folder).status() == {"state": "connected"}
    assert State(state.folder).status() is None


def test_a_killed_agent_has_no_status_though_its_file_stays(state: State) -> None:
    state.keep_status({"state": "connected"})
    assert State(state.folder).status() is None
    (state.folder / "lock").touch()
    assert State(state.folder).status() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_status_is_no_status(state: State, content: bytes) -> None:
    with state.alone():
        (state.folder / "status.json").write_bytes(content)
        assert State(state.folder).status() is None


def test_asking_for_the_status_does_not_keep_an_agent_from_starting(state: State) -> None:
    state.status()
    with state.alone():
        state.status()


def test_a_status_that_cannot_be_written_does_not_matter(folder: Path) -> None:
    State(folder).keep_status({"state": "connected"})
    assert not folder.exists()
