"""The administrator's answer to a hold of the mass-cut breaker."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import administrators, breaker
from gateway.errors import NotFound
from gateway.store.engine import reading, writing
from gateway.web.deployment import Deployment
from gateway.web.login import ADMIN_COOKIE
from gateway.web.operations import Operation, Proof, answer_json


def list_holds(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """List what is held at the moment."""
    with reading(gateway.engine) as db:
        administrators.by_cookie(db, request.cookies.get(ADMIN_COOKIE), now=gateway.clock.now())
        return answer_json({"holds": [breaker.shown(db, hold) for hold in breaker.pending(db)]})


def proceed(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Let what is held take effect; the background work does it at its next tick."""
    now = gateway.clock.now()
    cookie = request.cookies.get(ADMIN_COOKIE)
    with reading(gateway.engine) as db:
        found = administrators.by_cookie(db, cookie, now=now)
    assert cookie is not None
    administrators.check_csrf(cookie, request.headers.get("x-sallyport-csrf"))
    number = request.path_params["hold"]
    if not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise NotFound("hold-unknown", "there is no such hold")
    with writing(gateway.engine) as db:
        count = breaker.proceed(db, int(number), by=found.user, now=now)
    return answer_json({"hold": int(number), "sessions": count})


OPERATIONS = (
    Operation("GET", "/v1/admin/holds", "List what the breaker holds", Proof.ADMINISTRATOR, 200, list_holds),
    Operation(
        "POST",
        "/v1/admin/holds/{hold}/proceed",
        "Let a hold go on",
        Proof.ADMINISTRATOR_CSRF,
        200,
        proceed,
        body="application/json",
    ),
)
