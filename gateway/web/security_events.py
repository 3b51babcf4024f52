"""Security events come in: pushed by the transmitter (RFC 8935), or fetched from it (RFC 8936)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.access.event_stream import Receiver
from gateway.errors import Malformed, NotFound, ProviderError, Refused, Unauthenticated
from gateway.identity.transmitter import error_of
from gateway.web.deployment import Deployment
from gateway.web.management import Manager, operation
from gateway.web.operations import JSON, Operation, Proof, answer_json, members

SET = "application/secevent+jwt"
POLL_SECONDS = 1.0
RETRY_SECONDS = 15.0

log = structlog.get_logger()


def push(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Take one token. 202 says that its effect is committed; the tunnel has followed by then (RFC 8935 section 2.2)."""
    now = gateway.clock.now()
    receiver = _receiver(gateway)
    try:
        receiver.check_push(request.headers.get("authorization"))
        receiver.take(body.strip(), gateway.in_force, partial(gateway.follow, now=now), now=now)
    except Unauthenticated as refused:
        return JSONResponse({"err": "authentication_failed", "description": str(refused)}, 401)
    except Malformed as refused:
        return JSONResponse(error_of(refused), 400)
    return Response(status_code=202)


def show(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """Say which stream there is, whether it delivers, and when it was last verified."""
    row = _receiver(gateway).stream()
    shown = row.model_dump(include={"issuer", "stream", "audience", "delivery", "endpoint", "status"})
    return answer_json({**shown, "verified_at": row.verified_at.timestamp() if row.verified_at else None})


def verify(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """Have the transmitter prove that the stream works."""
    _receiver(gateway).ask_verification(now=gateway.clock.now())
    return answer_json({"asked": True})


def set_status(gateway: Deployment, _request: Request, body: bytes, _manager: Manager) -> Response:
    """Pause, disable or enable the stream."""
    status = str(members(body, {"status"}).get("status"))
    return answer_json({"status": _receiver(gateway).set_status(status, now=gateway.clock.now())})


def delete(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """Have the stream no longer."""
    _receiver(gateway).delete(now=gateway.clock.now())
    return Response(status_code=204)


async def run(gateway: Deployment) -> None:
    """Make the stream, and poll it when that is how its events come. What fails is logged once, and tried again."""
    receiver, failing = gateway.receiver, None
    if receiver is None:
        return
    while True:
        try:
            pause = await run_in_threadpool(step, gateway, receiver, now=gateway.clock.now())
            trouble = None
        except (ProviderError, Refused, SQLAlchemyError) as error:
            pause, trouble = RETRY_SECONDS, f"{type(error).__name__}: {error}"
        if trouble != failing:
            log.warning("security events do not come", error=trouble) if trouble else log.info("security events come")
            failing = trouble
        await asyncio.sleep(pause)


def step(gateway: Deployment, receiver: Receiver, *, now: datetime) -> float:
    """Do what is due. Gives the seconds until more may be. Raises ProviderError or Refused."""
    receiver.look_after(now=now)
    if receiver.delivery == "push":
        return RETRY_SECONDS
    more = receiver.poll(gateway.in_force, partial(gateway.follow, now=now), now=now)
    return 0.0 if more else POLL_SECONDS


def _receiver(gateway: Deployment) -> Receiver:
    if gateway.receiver is None:
        raise NotFound("stream-unknown", "this gateway has no transmitter: SALLYPORT_SSF_ISSUER is not set")
    return gateway.receiver


STREAM = "/v1/admin/security-events"
OPERATIONS = (
    Operation("POST", "/security-events", "Push a security event", Proof.TRANSMITTER, 202, push, body=SET),
    operation(f"GET {STREAM}", "The stream of security events", Proof.AUDITOR, 200, show),
    operation(f"POST {STREAM}/verify", "Have the stream verified", Proof.ADMINISTRATOR, 200, verify),
    operation(
        f"PUT {STREAM}/status", "Pause, disable or enable the stream", Proof.ADMINISTRATOR, 200, set_status, body=JSON
    ),
    operation(f"DELETE {STREAM}", "Have the stream no longer", Proof.ADMINISTRATOR, 204, delete),
)
