"""What a manager may see and do about sessions, and the audit log. Who may what stands with each operation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import col, select
from starlette.requests import Request
from starlette.responses import Response

from gateway.access import audit
from gateway.access.verdicts import verdict
from gateway.errors import Malformed
from gateway.store import tables
from gateway.store.engine import reading
from gateway.web.deployment import Deployment
from gateway.web.management import Manager, operation
from gateway.web.operations import JSON, Proof, answer_json, members

PAGE = 1_000
LONGEST_REASON = 500


def me(_gateway: Deployment, _request: Request, _body: bytes, manager: Manager) -> Response:
    """Say who is logged in, and the token that a browser's changes need."""
    said = {"user": manager.name, "role": manager.role.value, "expires_at": manager.expires_at.timestamp()}
    return answer_json({**said, "csrf": manager.csrf} if manager.csrf else said)


def list_sessions(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """List sessions, the newest first."""
    now, rows = gateway.clock.now(), tables.Session
    with reading(gateway.engine) as db:
        found = db.exec(select(rows).order_by(col(rows.started_at).desc()).limit(PAGE)).all()
        return answer_json({"sessions": [_session(row, gateway, now=now) for row in found]})


def list_audit(gateway: Deployment, request: Request, _body: bytes, _manager: Manager) -> Response:
    """List the audit log after a sequence number, in pages."""
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 18:
        raise Malformed("after-malformed", "after must be a sequence number, 0 for the beginning")
    with reading(gateway.engine) as db:
        return answer_json({"audit": [_row(row) for row in audit.after(db, int(after))]})


def kill(gateway: Deployment, request: Request, body: bytes, manager: Manager) -> Response:
    """Kill a session: nothing passes when the answer goes out, and its device needs a new login."""
    session = request.path_params["session"]
    killed = gateway.enforcement.kill(session, by=manager.name, reason=reason(body), now=gateway.clock.now())
    gateway.notices.publish(killed.sessions)
    return answer_json({"session": session, "killed": True, "recorded": killed.recorded})


def reason(body: bytes) -> str:
    """Read `{"reason": "…"}`: every change says why. Raises Malformed."""
    text = members(body, {"reason"}).get("reason")
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST_REASON:
        raise Malformed(
            "reason-missing", f'the body must be {{"reason": "…"}} with at most {LONGEST_REASON} characters'
        )
    return text.strip()


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


def _row(row: tables.Audit) -> dict[str, Any]:
    return {**row.model_dump(), "at": row.at.timestamp()}


OPERATIONS = (
    operation("GET /v1/admin/me", "Who is logged in", Proof.AUDITOR, 200, me),
    operation("GET /v1/admin/sessions", "List sessions", Proof.AUDITOR, 200, list_sessions),
    operation("GET /v1/admin/audit", "List the audit log", Proof.AUDITOR, 200, list_audit),
    operation("POST /v1/admin/sessions/{session}/kill", "Kill a session", Proof.OPERATOR, 200, kill, body=JSON),
)
