"""The manager's answer to a hold of the mass-cut breaker."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import breaker
from gateway.errors import NotFound
from gateway.store.engine import reading, writing
from gateway.web.deployment import Deployment
from gateway.web.management import Manager, operation
from gateway.web.operations import JSON, Proof, answer_json


def list_holds(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """List what is held at the moment."""
    with reading(gateway.engine) as db:
        return answer_json({"holds": [breaker.shown(db, hold) for hold in breaker.pending(db)]})


def proceed(gateway: Deployment, request: Request, _body: bytes, manager: Manager) -> Response:
    """Let what is held take effect; the background work does it at its next tick."""
    number = request.path_params["hold"]
    if not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise NotFound("hold-unknown", "there is no such hold")
    with writing(gateway.engine) as db:
        count = breaker.proceed(db, int(number), by=manager.name, now=gateway.clock.now())
    return answer_json({"hold": int(number), "sessions": count})


OPERATIONS = (
    operation("GET /v1/admin/holds", "List what the breaker holds", Proof.AUDITOR, 200, list_holds),
    operation("POST /v1/admin/holds/{hold}/proceed", "Let a hold go on", Proof.OPERATOR, 200, proceed, body=JSON),
)
