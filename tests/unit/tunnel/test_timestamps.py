"""Timestamps in a file: what one process noted the next one knows, whatever happened in between."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.tunnel.timestamps import TimestampFile, kept
from gateway.wireguard import timestamps as core
from gateway.wireguard.timestamps import Timestamps

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
EARLY, LATE = (bytes([number]) * 12 for number in (1, 2))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Timestamps]:
    with contextlib.closing(kept("wg0", folder)) as found:
        yield found


def test_the_next_process_knows_the_latest_of_everybody(tmp_path: Path) -> None:
    with opened(tmp_path / "made") as first:
        first.note(A, EARLY)
        first.note(B, EARLY)
        first.note(A, LATE)
    with opened(tmp_path / "made") as second:
        assert (second.latest(A), second.latest(B), second.latest(C)) == (LATE, EARLY, b"")
    assert (tmp_path / "made" / "wg0.timestamps").stat().st_size == 2 * 48
    assert (tmp_path / "made" / "wg0.timestamps").stat().st_mode & 0o777 == 0o600


def test_it_is_written_before_the_process_could_be_killed(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        first.note(A, LATE)
        assert A + LATE in (tmp_path / "wg0.timestamps").read_bytes()


def test_a_torn_record_is_none_and_its_place_is_used_again(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        first.note(A, LATE)
        first.note(B, LATE)
    path = tmp_path / "wg0.timestamps"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data + b"half a record")
    with opened(tmp_path) as second:
        assert (second.latest(A), second.latest(B)) == (b"", LATE)
        second.note(C, LATE)
    with opened(tmp_path) as third:
        assert (third.latest(B), third.latest(C)) == (LATE, LATE)


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MAX_TIMESTAMPS", 5)
    with opened(tmp_path) as first:
        for number in range(50):
            first.note(number.to_bytes(32, "big"), number.to_bytes(12, "big"))
    assert (tmp_path / "wg0.timestamps").stat().st_size <= 6 * 48
    with opened(tmp_path) as second:
        assert [n for n in range(50) if second.latest(n.to_bytes(32, "big"))] == [45, 46, 47, 48, 49]


def test_a_file_that_nobody_needed_is_not_left_behind(tmp_path: Path) -> None:
    with opened(tmp_path):
        assert (tmp_path / "wg0.timestamps").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_does_not_write_into_the_firsts_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert isinstance(first, TimestampFile)
        assert not isinstance(second, TimestampFile)
        assert "do not outlive this process" in capsys.readouterr().err


def test_where_nothing_can_be_written_the_tunnel_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with opened(tmp_path / "file" / "folder") as found:
        found.note(A, LATE)
        assert found.latest(A) == LATE
    assert capsys.readouterr().err.startswith("timestamps of handshakes do not outlive this process: ")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "wg0.timestamps").symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path) as found:
        found.note(A, LATE)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_disk_that_refuses_does_not_end_the_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as found:
        monkeypatch.setattr(os, "pwrite", full)
        found.note(A, LATE)
        assert found.latest(A) == LATE
