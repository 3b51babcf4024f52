"""A gateway in a test whose stream of security events is at the simulated transmitter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2

from gateway.web import security_events
from tests.sim.gateway import FULL, Device, World
from tests.sim.transmitter import CAEP, PUSH_SECRET, SimulatedTransmitter


class Receiving:
    """The gateway, its transmitter, and people who are connected."""

    def __init__(self, world: World, *, delivery: str = "push") -> None:
        self.world = world
        self.transmitter = SimulatedTransmitter()
        self.transmitter.now = world.clock.time
        self.receiver = self.transmitter.receiver(world.engine, delivery=delivery)
        world.deployment = replace(world.deployment, receiver=self.receiver)
        world.browser = world.new_browser()

    def work(self) -> None:
        """What the background does."""
        security_events.step(self.world.deployment, self.receiver, now=self.world.clock.time)

    def push(self, token: str, authorization: str | None = f"Bearer {PUSH_SECRET}") -> httpx2.Response:
        headers = {"content-type": "application/secevent+jwt"}
        headers |= {} if authorization is None else {"authorization": authorization}
        return self.world.browser.post("/security-events", content=token, headers=headers)

    def accepts(self, token: str) -> None:
        answer = self.push(token)
        assert (answer.status_code, answer.content) == (202, b""), answer.text

    def happens(self, name: str, about: dict[str, Any], **members: Any) -> None:
        """An honest CAEP event of now."""
        self.accepts(self.transmitter.event(CAEP + name, about, **members).sign())

    def connected(self, name: str = "laptop", **login: Any) -> Device:
        device = self.world.device(name, **login).connect()
        assert device.reach == FULL
        return device

    def passes(self, seconds: float) -> None:
        self.world.passes(seconds)
        self.transmitter.now = self.world.clock.time
