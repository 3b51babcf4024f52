"""What clamd answers to VERSION."""

from __future__ import annotations

import time

import pytest

from agent.collect.linux.antivirus import parse_version
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import recorded

VERSIONS = [
    ("27400", (2026, 11, 19, 2, 40, 37)),
    ("26500", (2022, 4, 6, 8, 21, 47)),
    (None, None),
    ("27790", (2025, 10, 6, 9, 12, 1)),
]


@pytest.mark.parametrize("number", range(len(VERSIONS)))
def test_the_signatures_are_as_old_as_clamd_says_in_local_time(number: int) -> None:
    engine, signatures, made = parse_version(recorded("antivirus/versions.txt").splitlines()[number])
    assert (signatures, made and time.localtime(made)[:6]) == VERSIONS[number]
    assert engine.startswith(("0.", "1."))


def test_every_recorded_version_is_judged() -> None:
    assert len(recorded("antivirus/versions.txt").splitlines()) == len(VERSIONS)


def test_a_day_that_does_not_exist_is_no_age() -> None:
    assert parse_version("ClamAV 1.4.6/27400/Thu Nov 39 02:40:37 2026") == ("1.4.6", "27400", None)
    assert parse_version("ClamAV 1.4.6/27400/Xxx Yyy 19 02:40:37 2026") == ("1.4.6", "27400", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "PONG",
        "UNKNOWN COMMAND",
        "ClamAV",
        "ClamAV 1.4.6/",
        "ClamAV 1.4.6/27400/",
        "ClamAV 1.4.6/27400/jeu. 19 nov. 2026 02:40:37",
        "ClamAV 1.4.6/27400/Thu Nov 19 02:40:37 2026\nClamAV 1.4.6",
        "ClamAV 1.4.6/٢٧٤٠٠/Thu Nov 19 02:40:37 2026",
        "ClamAV " + "1" * (10 << 20) + "/",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_another_answer_is_no_version(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_version(text)
