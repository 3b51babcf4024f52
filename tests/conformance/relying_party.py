"""The gateway as the suite sees it: a browser that logs in, what the provider was asked, and who is logged in at the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from sqlmodel import col, select

from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.gateway import Device, World
from tests.sim.provider import TOKEN, USERINFO, Provider


class RelyingPartyUnderTest:
    """One gateway at one provider. Everything goes through its HTTP interface and the browser's redirects."""

    def __init__(self, world: World, provider: Provider, **client: Any) -> None:
        self.world = world
        self.provider = provider
        self.register(**client)
        self.device = Device(world)

    def register(self, **client: Any) -> None:
        """Be this client from now on: `client_secret=…`, `prover=…`."""
        self.world.use_provider(self.provider, **client)

    def log_in(self, user: str = "alice") -> httpx2.Response:
        """A whole login on the device. Gives the last answer."""
        return self.device.log_in_at(self.provider, user)

    def accepts(self, user: str = "alice") -> tables.Login:
        """The login holds: the device is enrolled and may open a session. Gives what was kept of it."""
        answer = self.log_in(user)
        assert answer.status_code == 200, answer.text
        assert self.device.begin().status_code == 201
        return self.logins()[-1]

    def rejects(self, code: str, status: int = 401) -> None:
        """The login is refused for this reason, nobody is logged in, and the device may open nothing."""
        answer = self.log_in()
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        self.is_logged_out()

    def is_logged_out(self) -> None:
        assert self.logins() == []
        assert self.device.begin().status_code == 401

    def logins(self) -> list[tables.Login]:
        """The logins that hold."""
        with reading(self.world.engine) as db:
            return list(db.exec(select(tables.Login).where(col(tables.Login.voided_at).is_(None))).all())

    def passes(self, time: timedelta) -> None:
        self.world.passes(time.total_seconds())
        self.provider.now += time

    # what the provider was asked

    @property
    def authorization_request(self) -> dict[str, str]:
        """The parameters that a browser takes to the provider."""
        name = self.device.ask_enrolment().json()["enrolment"]
        sent = self.world.browser.get(f"/login/{name}")
        return {key: values[0] for key, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}

    def asked(self, path: str) -> list[httpx2.Request]:
        return [request for request in self.provider.requests if request.url.path == path]

    @property
    def token_request(self) -> httpx2.Request:
        return self.asked(TOKEN)[-1]

    @property
    def userinfo_request(self) -> httpx2.Request:
        return self.asked(USERINFO)[-1]
