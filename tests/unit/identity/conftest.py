from __future__ import annotations

import pytest

from tests.sim.provider import LoginDesk, Provider


@pytest.fixture
def provider() -> Provider:
    """An honest provider."""
    return Provider()


@pytest.fixture
def desk(provider: Provider) -> LoginDesk:
    """A public client at it."""
    return LoginDesk(provider)
