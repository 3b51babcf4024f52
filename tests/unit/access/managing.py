"""A manager at a gateway of the tests: a program with an API token, or a browser with a cookie."""

from __future__ import annotations

from datetime import timedelta

from starlette.testclient import TestClient

from gateway.access import administrators, api_tokens
from gateway.access.administrators import Role
from gateway.store.engine import writing
from gateway.web.login import ADMIN_COOKIE
from tests.sim.gateway import World


def manager(world: World, role: Role = Role.ADMIN, *, browser: bool = False, cookie: str | None = None) -> TestClient:
    """A client that manages with this role."""
    client = world.new_browser()
    now, entropy = world.clock.time, world.entropy
    with writing(world.engine) as db:
        if browser and cookie is None:
            login = world.log_in("carol", ("sallyport-admins",))
            cookie = administrators.begin(db, login, world.management, now=now, entropy=entropy)
        elif cookie is None:
            common = {"by": "carol", "now": now, "entropy": entropy}
            _, secret = api_tokens.create(db, name="test", role=role, lifetime=timedelta(hours=1), **common)  # type: ignore[arg-type]
            client.headers["authorization"] = f"Bearer {secret}"
    if cookie is not None:
        client.headers["cookie"] = f"{ADMIN_COOKIE}={cookie}"
        client.headers["x-sallyport-csrf"] = administrators.csrf_token(cookie)
    return client
