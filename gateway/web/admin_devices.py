"""What a manager may see and decide about devices, keys for unattended machines, and tokens for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select
from starlette.requests import Request
from starlette.responses import Response

from gateway.access import api_tokens, custody, enrolment_keys
from gateway.access.administrators import Role
from gateway.errors import Malformed
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web.admin import PAGE, reason
from gateway.web.deployment import Deployment
from gateway.web.management import Manager, operation
from gateway.web.operations import JSON, Proof, answer_json, members

LONGEST_NAME = 64
MOST_GROUPS = 32
MOST_HOURS = 24 * 30
MOST_DAYS = 366


def list_devices(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """List devices by name, also those that wait for approval, are quarantined or revoked."""
    with reading(gateway.engine) as db:
        rows = db.exec(select(tables.Device).order_by(col(tables.Device.name)).limit(PAGE)).all()
        return answer_json({"devices": [_device(row) for row in rows]})


def approve(gateway: Deployment, request: Request, _body: bytes, manager: Manager) -> Response:
    """Let a device in that waits for approval."""
    device = request.path_params["device"]
    with writing(gateway.engine) as db:
        custody.approve(db, device, by=manager.name, now=gateway.clock.now())
    return answer_json({"device": device, "state": "approved"})


def revoke(gateway: Deployment, request: Request, body: bytes, manager: Manager) -> Response:
    """Revoke a device for good: nothing passes when the answer goes out, and its key never comes back."""
    now, device, why = gateway.clock.now(), request.path_params["device"], reason(body)
    with writing(gateway.engine) as db:
        changed = custody.revoke(db, device, by=manager.name, reason=why, now=now)
    gateway.follow(changed, now=now)
    return answer_json({"device": device, "state": "revoked"})


def release(gateway: Deployment, request: Request, body: bytes, manager: Manager) -> Response:
    """Believe a quarantined device again."""
    now, device, why = gateway.clock.now(), request.path_params["device"], reason(body)
    with writing(gateway.engine) as db:
        changed = custody.release(db, gateway.in_force, device, by=manager.name, reason=why, now=now)
    gateway.follow(changed, now=now)
    return answer_json({"device": device, "state": "approved"})


def list_keys(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """List enrolment keys, the newest first, without their secrets, which nobody knows."""
    rows = tables.EnrolmentKey
    with reading(gateway.engine) as db:
        found = db.exec(select(rows).order_by(col(rows.created_at).desc()).limit(PAGE)).all()
        return answer_json({"enrolment_keys": [_key(row) for row in found]})


def create_key(gateway: Deployment, _request: Request, body: bytes, manager: Manager) -> Response:
    """Make a key that enrols one unattended machine. The secret is in this answer and nowhere else."""
    given = members(body, {"name", "groups", "hours", "login_days"})
    with writing(gateway.engine) as db:
        row, secret = enrolment_keys.create(
            db,
            name=_name(given),
            groups=_groups(given.get("groups", [])),
            lifetime=timedelta(hours=_whole(given, "hours", 24, MOST_HOURS)),
            login_days=_whole(given, "login_days", 90, MOST_DAYS),
            by=manager.name,
            now=gateway.clock.now(),
            entropy=gateway.entropy,
        )
    return answer_json({**_key(row), "secret": secret}, 201)


def withdraw_key(gateway: Deployment, request: Request, _body: bytes, manager: Manager) -> Response:
    """End an enrolment key that nobody has used."""
    with writing(gateway.engine) as db:
        enrolment_keys.withdraw(db, request.path_params["key"], by=manager.name, now=gateway.clock.now())
    return Response(status_code=204)


def list_tokens(gateway: Deployment, _request: Request, _body: bytes, _manager: Manager) -> Response:
    """List API tokens, the newest first, without their secrets."""
    rows = tables.ApiToken
    with reading(gateway.engine) as db:
        found = db.exec(select(rows).order_by(col(rows.created_at).desc()).limit(PAGE)).all()
        return answer_json({"api_tokens": [_token(row) for row in found]})


def create_token(gateway: Deployment, _request: Request, body: bytes, manager: Manager) -> Response:
    """Make a token for a program. The secret is in this answer and nowhere else."""
    given = members(body, {"name", "role", "days"})
    with writing(gateway.engine) as db:
        row, secret = api_tokens.create(
            db,
            name=_name(given),
            role=_role(given.get("role")),
            lifetime=timedelta(days=_whole(given, "days", 90, MOST_DAYS)),
            by=manager.name,
            now=gateway.clock.now(),
            entropy=gateway.entropy,
        )
    return answer_json({**_token(row), "secret": secret}, 201)


def revoke_token(gateway: Deployment, request: Request, _body: bytes, manager: Manager) -> Response:
    """End an API token."""
    with writing(gateway.engine) as db:
        api_tokens.revoke(db, request.path_params["token"], by=manager.name, now=gateway.clock.now())
    return Response(status_code=204)


def state(row: tables.Device) -> str:
    """Say in one word where a device stands."""
    if row.revoked_at is not None:
        return "revoked"
    if row.quarantined_at is not None:
        return "quarantined"
    return "approved" if row.approved_at is not None else "pending"


def _device(row: tables.Device) -> dict[str, Any]:
    shown = row.model_dump(include={"id", "name", "platform", "agent_version", "issuer", "subject", "approved_by"})
    attested = (row.attestation or {}).get("endorsement")
    return {**shown, "state": state(row), "enrolled_at": row.enrolled_at.timestamp(), "tpm": attested}


def _key(row: tables.EnrolmentKey) -> dict[str, Any]:
    shown = row.model_dump(include={"id", "name", "groups", "created_by", "login_days", "used_by"})
    return {**shown, **_instants(row, ("created_at", "expires_at", "used_at"))}


def _token(row: tables.ApiToken) -> dict[str, Any]:
    shown = row.model_dump(include={"id", "name", "created_by"})
    return {**shown, "role": row.scopes[0], **_instants(row, ("created_at", "expires_at", "revoked_at"))}


def _instants(row: object, names: Sequence[str]) -> dict[str, float | None]:
    found: dict[str, datetime | None] = {name: getattr(row, name) for name in names}
    return {name: at.timestamp() if at else None for name, at in found.items()}


def _name(given: dict[str, Any]) -> str:
    name = given.get("name")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise Malformed("name", f"name must be a text of 1 to {LONGEST_NAME} printable characters")
    return name.strip()


def _groups(groups: object) -> list[str]:
    named = isinstance(groups, list) and all(isinstance(group, str) and group for group in groups)
    if not isinstance(groups, list) or not named or len(groups) > MOST_GROUPS:
        raise Malformed("groups", f"groups must be a list of at most {MOST_GROUPS} names of groups")
    return groups


def _role(role: object) -> Role:
    try:
        return Role(str(role))
    except ValueError:
        raise Malformed("role", f"role must be one of: {', '.join(Role)}") from None


def _whole(given: dict[str, Any], name: str, default: int, most: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Malformed(name, f"{name} must be a whole number from 1 to {most}")
    return value


OPERATIONS = (
    operation("GET /v1/admin/devices", "List devices", Proof.AUDITOR, 200, list_devices),
    operation("POST /v1/admin/devices/{device}/approve", "Approve a device", Proof.OPERATOR, 200, approve),
    operation("POST /v1/admin/devices/{device}/revoke", "Revoke a device", Proof.OPERATOR, 200, revoke, body=JSON),
    operation("POST /v1/admin/devices/{device}/release", "End a quarantine", Proof.OPERATOR, 200, release, body=JSON),
    operation("GET /v1/admin/enrolment-keys", "List enrolment keys", Proof.AUDITOR, 200, list_keys),
    operation(
        "POST /v1/admin/enrolment-keys", "Make an enrolment key", Proof.ADMINISTRATOR, 201, create_key, body=JSON
    ),
    operation(
        "DELETE /v1/admin/enrolment-keys/{key}", "Withdraw an enrolment key", Proof.ADMINISTRATOR, 204, withdraw_key
    ),
    operation("GET /v1/admin/api-tokens", "List API tokens", Proof.ADMINISTRATOR, 200, list_tokens),
    operation("POST /v1/admin/api-tokens", "Make an API token", Proof.ADMINISTRATOR, 201, create_token, body=JSON),
    operation("DELETE /v1/admin/api-tokens/{token}", "Revoke an API token", Proof.ADMINISTRATOR, 204, revoke_token),
)
