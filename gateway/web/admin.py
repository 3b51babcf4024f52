"""What an administrator may see and do. Reading needs the cookie; changing needs the CSRF token too."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select
from starlette.requests import Request
from starlette.responses import Response

from gateway.access import administrators, audit
from gateway.access.verdicts import verdict
from gateway.errors import Malformed
from gateway.store import tables
from gateway.store.engine import reading
from gateway.web.deployment import Deployment
from gateway.web.login import ADMIN_COOKIE
from gateway.web.operations import Operation, Proof, answer_json

PAGE = 1_000
LONGEST_REASON = 500


def me(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Say who is logged in, and the token that changes need."""
    cookie = request.cookies.get(ADMIN_COOKIE)
    with reading(gateway.engine) as db:
        found = administrators.by_cookie(db, cookie, now=gateway.clock.now())
    assert cookie is not None
    return answer_json(
        {"user": found.user, "expires_at": found.expires_at.timestamp(), "csrf": administrators.csrf_token(cookie)}
    )


def list_sessions(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """List sessions, the newest first."""
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        administrator(db, request, now=now)
        rows = db.exec(select(tables.Session).order_by(col(tables.Session.started_at).desc()).limit(PAGE)).all()
        return answer_json({"sessions": [_session(row, gateway, now=now) for row in rows]})


def list_devices(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """List enrolled devices by name."""
    with reading(gateway.engine) as db:
        administrator(db, request, now=gateway.clock.now())
        rows = db.exec(select(tables.Device).order_by(col(tables.Device.name)).limit(PAGE)).all()
        return answer_json({"devices": [_device(row) for row in rows]})


def list_audit(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """List the audit log after a sequence number, in pages."""
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 18:
        raise Malformed("after-malformed", "after must be a sequence number, 0 for the beginning")
    with reading(gateway.engine) as db:
        administrator(db, request, now=gateway.clock.now())
        return answer_json({"audit": [_row(row) for row in audit.after(db, int(after))]})


def kill(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Kill a session: nothing passes when the answer goes out, and its device needs a new login."""
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        found = administrator(db, request, now=now, changes=True)
    session = request.path_params["session"]
    killed = gateway.enforcement.kill(session, by=found.user, reason=_reason(body), now=now)
    gateway.notices.publish(killed.sessions)
    return answer_json({"session": session, "killed": True, "recorded": killed.recorded})


def administrator(db: Session, request: Request, *, now: datetime, changes: bool = False) -> tables.Administrator:
    """Give whose cookie it is. What `changes` something needs the CSRF token too. Raises Unauthenticated or Forbidden."""
    cookie = request.cookies.get(ADMIN_COOKIE)
    found = administrators.by_cookie(db, cookie, now=now)
    assert cookie is not None
    if changes:
        administrators.check_csrf(cookie, request.headers.get("x-sallyport-csrf"))
    return found


def _reason(body: bytes) -> str:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    reason = members.get("reason") if isinstance(members, dict) and members.keys() == {"reason"} else None
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise Malformed(
            "reason-missing", f'the body must be {{"reason": "…"}} with at most {LONGEST_REASON} characters'
        )
    return reason.strip()


def _session(row: tables.Session, gateway: Deployment, *, now: datetime) -> dict[str, Any]:
    return {
        **verdict(row, now=now, lease=gateway.lease_of(row)),
        "device": row.device,
        "user": row.user,
        "groups": row.groups,
        "started_at": row.started_at.timestamp(),
        "expires_at": row.expires_at.timestamp(),
        "ended_at": row.ended_at.timestamp() if row.ended_at else None,
        "end_reason": row.end_reason,
    }


def _device(row: tables.Device) -> dict[str, Any]:
    shown = row.model_dump(include={"id", "name", "platform", "agent_version", "issuer", "subject"})
    return {**shown, "enrolled_at": row.enrolled_at.timestamp()}


def _row(row: tables.Audit) -> dict[str, Any]:
    return {**row.model_dump(), "at": row.at.timestamp()}


OPERATIONS = (
    Operation("GET", "/v1/admin/me", "Who is logged in", Proof.ADMINISTRATOR, 200, me),
    Operation("GET", "/v1/admin/sessions", "List sessions", Proof.ADMINISTRATOR, 200, list_sessions),
    Operation("GET", "/v1/admin/devices", "List devices", Proof.ADMINISTRATOR, 200, list_devices),
    Operation("GET", "/v1/admin/audit", "List the audit log", Proof.ADMINISTRATOR, 200, list_audit),
    Operation(
        "POST",
        "/v1/admin/sessions/{session}/kill",
        "Kill a session",
        Proof.ADMINISTRATOR_CSRF,
        200,
        kill,
        body="application/json",
    ),
)
