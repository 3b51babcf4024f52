from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import World
from tests.sim.provider import Provider


@pytest.fixture
def provider() -> Provider:
    """The suite's provider: honest, until the module says how it lies."""
    return Provider()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.tick()
    yield world
    world.close()


@pytest.fixture
def party(world: World, provider: Provider) -> RelyingPartyUnderTest:
    """The gateway as a relying party of that provider, asked by HTTP alone."""
    return RelyingPartyUnderTest(world, provider)
