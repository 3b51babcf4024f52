"""An agent's conversation with the gateway, with what the tunnel then lets through."""

from __future__ import annotations

from tests.sim.gateway import FULL, World


def test_a_healthy_device_of_finance_reaches_payroll(world: World) -> None:
    device = world.device()
    assert device.reach is None
    device.connect()
    assert device.reach == FULL
