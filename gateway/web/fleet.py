"""The live fleet as a snapshot, for `sallyport policy plan` in a pipeline that has an API token and no database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.access import fleet
from gateway.policy import snapshot
from gateway.store.engine import reading
from gateway.web.deployment import Deployment
from gateway.web.management import Manager, operation
from gateway.web.operations import Proof


def give_snapshot(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """Stream it, line by line, as of one moment: its last line says that it is whole."""
    return StreamingResponse(_lines(gateway, gateway.clock.now()), media_type="application/x-ndjson")


def _lines(gateway: Deployment, now: datetime) -> Iterator[str]:
    with reading(gateway.engine) as db:
        yield from snapshot.lines(fleet.live(db, now=now), at=now)


OPERATIONS = (operation("GET /v1/admin/fleet", "The live fleet, to plan against", Proof.AUDITOR, 200, give_snapshot),)
