"""An operation: one method on one path, who may use it, and what it does. The routes and the OpenAPI document follow."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import Malformed
from gateway.identity import strict_json
from gateway.web.deployment import Deployment

JSON = "application/json"

LARGEST_BODY = 64 * 1024
"""Bytes: several times the largest report; everything else is far smaller."""

BODY_SECONDS = 10
"""A body of 64 KiB that takes longer is a client that holds a place."""


class Proof(enum.Enum):
    """What a caller must show: the one table of who may use what."""

    NOTHING = "nothing"
    ANY_KEY = "a JWS by a device key that may be new"
    DEVICE = "a JWS by the key of an enrolled device whose login holds"
    OWNER = "a JWS by the key of the device that the address is about"
    ENROLMENT_KEY = "a JWS by a device key that may be new, with an enrolment key"
    DEVICE_TOKEN = "an assertion or a refresh token of an enrolled device, with a DPoP proof by its key"  # noqa: S105
    OWNER_TOKEN = "an access token of the device that the address is about, with a DPoP proof by its key"  # noqa: S105
    HOLDER = "an access token of an enrolled device, with a DPoP proof by its key"
    PROVIDER = "a logout token by the provider"
    TRANSMITTER = "a security event token by the transmitter"
    CONSENT = "the secret of the page that the person who logged in was shown"
    BROWSER = "the cookie of the browser that began"
    AUDITOR = "a manager's cookie, for changes with its CSRF token, or an API token"
    OPERATOR = "the same of an operator"
    ADMINISTRATOR = "the same of an administrator"


Plain = Callable[[Deployment, Request, bytes], Response]
Streaming = Callable[[Deployment, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`work` runs in a thread with the whole body; `stream` runs on the event loop. One of the two is given."""

    method: str
    path: str
    summary: str
    proof: Proof
    success: int
    work: Plain | None = None
    stream: Streaming | None = None
    body: str | None = None

    def route(self, deployment: Deployment) -> Route:
        """Make the Starlette route."""

        async def endpoint(request: Request) -> Response:
            if self.stream is not None:
                return await self.stream(deployment, request)
            assert self.work is not None
            return await run_in_threadpool(self.work, deployment, request, await _body(request, self.body))

        return Route(self.path, endpoint, methods=[self.method])


async def _body(request: Request, media_type: str | None) -> bytes:
    if media_type is None:
        return b""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise HTTPException(415, f"the body must be {media_type}")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _capped(request)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {BODY_SECONDS} s") from None


async def _capped(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY} bytes")
    return bytes(body)


def answer_json(members: dict[str, Any], status: int = 200) -> Response:
    """Answer with JSON."""
    return JSONResponse(members, status)


def members(body: bytes, allowed: set[str]) -> dict[str, Any]:
    """Read a JSON object that has no other members than these: nobody assigns what is not theirs to assign."""
    try:
        found = strict_json.loads_object(body)
    except ValueError as error:
        raise Malformed("body", f"the body {error}") from None
    foreign = sorted(found.keys() - allowed)
    if foreign:
        raise Malformed("body", f"{foreign[0]!r} is not allowed in the body; allowed are {', '.join(sorted(allowed))}")
    return found
