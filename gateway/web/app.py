"""The web application: routes, limits, headers. Who may do what stands with each operation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import GatewayError
from gateway.web import (
    admin,
    admin_devices,
    agent_api,
    attestation,
    background,
    bearer,
    breaker,
    device_login,
    events,
    fleet,
    health,
    login,
    login_checks,
    logout,
    names,
    openapi,
    problems,
    rp_logout,
    security_events,
    witnessing,
)
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}

DESCRIBED = (
    *agent_api.OPERATIONS,
    *bearer.OPERATIONS,
    *attestation.OPERATIONS,
    *events.OPERATIONS,
    *login.OPERATIONS,
    *device_login.OPERATIONS,
    *logout.OPERATIONS,
    *rp_logout.OPERATIONS,
    *security_events.OPERATIONS,
    *admin.OPERATIONS,
    *admin_devices.OPERATIONS,
    *breaker.OPERATIONS,
    *fleet.OPERATIONS,
    *health.OPERATIONS,
)
OPERATIONS = (
    *DESCRIBED,
    Operation("GET", "/openapi.json", "This document", Proof.NOTHING, 200, openapi.endpoint(DESCRIBED)),
)


def make_app(gateway: Deployment, *, work: bool = True) -> Starlette:
    """Make the application of one gateway. Without `work` nothing happens by itself: a test ticks as it likes."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        work_to_do = background.run, names.run, security_events.run, login_checks.run, witnessing.run
        tasks = [asyncio.create_task(run(gateway)) for run in (work_to_do if work else ())]
        yield
        gateway.notices.close()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app = Starlette(
        routes=[operation.route(gateway) for operation in OPERATIONS],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=dict.fromkeys((GatewayError, HTTPException, *problems.STATUSES), problems.answer),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect to whatever the Host header says
    return app


class SecurityHeaders:
    """Adds the same headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
