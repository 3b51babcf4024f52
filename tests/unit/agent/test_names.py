"""The tunnel's name servers in resolv.conf: there while it is up, and what stood there comes back whoever was killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.names import OURS, Names, content

BEFORE = "# by hand\nnameserver 192.0.2.1\n"
SERVERS, DOMAINS = ("10.20.0.53",), ("corp.example",)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "etc" / "resolv.conf"
    made.parent.mkdir()
    made.write_text(BEFORE)
    return made


def names(tmp_path: Path, file: Path) -> Names:
    (tmp_path / "state").mkdir(exist_ok=True)
    return Names(tmp_path / "state", resolv_conf=file, resolved=tmp_path / "resolved")


def test_the_tunnels_servers_are_asked_and_then_those_before(tmp_path: Path, file: Path) -> None:
    mine = names(tmp_path, file)
    mine.use("sallyport", SERVERS, DOMAINS)
    assert file.read_text() == f"{OURS}\nnameserver 10.20.0.53\nsearch corp.example\n"
    mine.restore()
    assert file.read_text() == BEFORE
    mine.restore()
    assert file.read_text() == BEFORE
    assert os.listdir(file.parent) == ["resolv.conf"]
    assert os.listdir(tmp_path / "state") == []


def test_another_process_puts_back_what_a_killed_one_has_left(tmp_path: Path, file: Path) -> None:
    names(tmp_path, file).use("sallyport", SERVERS, DOMAINS)
    names(tmp_path, file).restore()
    assert file.read_text() == BEFORE


def test_a_second_use_does_not_forget_what_stood_there_first(tmp_path: Path, file: Path) -> None:
    names(tmp_path, file).use("sallyport", SERVERS, DOMAINS)
    mine = names(tmp_path, file)
    mine.use("sallyport", ("10.20.0.54",), (".",))
    assert file.read_text() == f"{OURS}\nnameserver 10.20.0.54\n"
    mine.restore()
    assert file.read_text() == BEFORE


def test_a_link_comes_back_as_a_link(tmp_path: Path, file: Path) -> None:
    real = tmp_path / "run-resolv.conf"
    file.rename(real)
    file.symlink_to("../run-resolv.conf")
    mine = names(tmp_path, file)
    mine.use("sallyport", SERVERS, DOMAINS)
    assert not file.is_symlink()
    assert real.read_text() == BEFORE, "what the link leads to belongs to somebody else"
    mine.restore()
    assert os.readlink(file) == "../run-resolv.conf"


def test_a_file_that_was_not_there_is_gone_again(tmp_path: Path, file: Path) -> None:
    file.unlink()
    mine = names(tmp_path, file)
    mine.use("sallyport", SERVERS, DOMAINS)
    mine.restore()
    assert not file.exists()


def test_what_another_program_writes_meanwhile_comes_back_and_not_what_is_older(tmp_path: Path, file: Path) -> None:
    mine = names(tmp_path, file)
    mine.use("sallyport", SERVERS, DOMAINS)
    assert not mine.again()
    file.write_text("nameserver 192.0.2.2\n")
    assert mine.again()
    assert OURS in file.read_text()
    mine.restore()
    assert file.read_text() == "nameserver 192.0.2.2\n"


def test_what_another_program_has_written_last_is_left_alone(tmp_path: Path, file: Path) -> None:
    mine = names(tmp_path, file)
    mine.use("sallyport", SERVERS, DOMAINS)
    file.write_text("nameserver 192.0.2.3\n")
    mine.restore()
    assert file.read_text() == "nameserver 192.0.2.3\n"


def test_without_servers_nothing_changes(tmp_path: Path, file: Path) -> None:
    mine = names(tmp_path, file)
    mine.use("sallyport", (), ())
    mine.restore()
    assert file.read_text() == BEFORE


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    mine = names(tmp_path, tmp_path / "nowhere" / "resolv.conf")
    with pytest.raises(AgentError, match="cannot be written"):
        mine.use("sallyport", SERVERS, DOMAINS)


def test_a_memory_of_rubbish_restores_nothing_and_hurts_nobody(tmp_path: Path, file: Path) -> None:
    for rubbish in (b"\0", b"[]", b'{"text": 5}', b"{" * 10_000):
        mine = names(tmp_path, file)
        (tmp_path / "state" / "resolv.conf.before").write_bytes(rubbish)
        mine.restore()
        assert file.read_text() == BEFORE


def test_resolv_conf_takes_three_servers_and_no_stranger() -> None:
    text = content([f"10.20.0.{n}" for n in range(5)], ["a.example", ".", "b.example"])
    assert text.count("nameserver") == 3
    assert text.endswith("search a.example b.example\n")
