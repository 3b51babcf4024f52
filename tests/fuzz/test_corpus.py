"""Every input that was ever interesting, again. `make fuzz` looks for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_holds(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 10
    for file in inputs:
        try:
            TARGETS[name](file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name} fails on {file.name}: {error!r}") from error


def test_there_is_a_corpus_for_every_target_and_no_other() -> None:
    assert {each.name for each in CORPUS.iterdir()} == set(TARGETS)
