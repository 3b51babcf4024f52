from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.gateway import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A gateway that has found its tunnel."""
    world = World(tmp_path)
    world.tick()
    yield world
    world.close()
