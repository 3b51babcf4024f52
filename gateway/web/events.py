"""The event stream of a session: the verdict at once, again on every change, and why the session ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.access.verdicts import verdict
from gateway.store.engine import reading
from gateway.web.agent_api import authorised_session, current
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof

KEEP_ALIVE_SECONDS = 30
"""Each wakes an idle laptop; what dies in between is found by the heartbeat."""
VOLATILE = {"lease_ms", "sequence", "valid_until"}
"""What changes with every report without changing anything for the user."""


async def stream(gateway: Deployment, request: Request) -> Response:
    """Stream the events of the caller's session until it ends."""
    session = await run_in_threadpool(lambda: authorised_session(gateway, request, now=gateway.clock.now()))
    events = _events(gateway, session.id)
    first = await anext(events)  # so that one stream too many is refused with a status
    return StreamingResponse(_chain(first, events), media_type="text/event-stream")


async def _chain(first: str, events: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for event in events:
        yield event


async def _events(gateway: Deployment, session: str) -> AsyncIterator[str]:
    told: dict[str, Any] = {}
    with gateway.notices.listening(session) as changed:
        while not gateway.notices.closing:
            changed.clear()
            name, data = await run_in_threadpool(_state, gateway, session)
            steady = {key: value for key, value in data.items() if key not in VOLATILE}
            if steady != told:
                told = steady
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n"
            if name == "ended":
                return
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"


def _state(gateway: Deployment, session: str) -> tuple[str, dict[str, Any]]:
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        found = current(db, session)
        if found.ended_at is not None:
            return "ended", {"reason": found.end_reason}
        return "verdict", verdict(found, now=now, lease=gateway.lease_of(found))


OPERATIONS = (
    Operation("GET", "/v1/sessions/{session}/events", "Follow the session", Proof.OWNER_TOKEN, 200, stream=stream),
)
