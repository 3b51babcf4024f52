"""What is knocked at, and how the answer is counted; that packets really come back is shown end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.pulse import MOST, beats, received, targets

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       7    0    0    0     0          0         0      100       7    0    0    0     0       0          0
sallyport: 4200      42    0    0    0     0          0         0     9100      91    0    0    0     0       0          0
"""


def test_the_packets_of_the_interface_are_counted(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(NET_DEV)
    assert received("sallyport", tmp_path / "dev") == 42
    assert received("lo", tmp_path / "dev") == 7
    assert received("sally", tmp_path / "dev") is None


@pytest.mark.parametrize("text", ["", "\0" * 1000, "sallyport:", "sallyport: x y\n"])
def test_counters_that_are_none_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "dev").write_text(text)
    assert received("sallyport", tmp_path / "dev") is None
    assert received("sallyport", tmp_path / "missing") is None


def test_every_route_is_knocked_at_up_to_a_limit() -> None:
    assert targets(["10.20.0.0/16", "10.9.0.1/32", "fd00::/64", "10.8.0.0/31"]) == [
        "10.20.0.1", "10.9.0.1", "fd00::1", "10.8.0.0",
    ]  # fmt: skip
    assert len(targets(["10.20.0.0/16"] * 300)) == MOST


def test_without_a_tunnel_nothing_beats() -> None:
    assert beats("spnever", ["127.0.0.0/8"], patience=0.1) is None
