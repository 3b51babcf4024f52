"""Who asks to manage: a person's browser by cookie, or a program by API token. The one guard of every admin route."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import administrators, api_tokens
from gateway.access.administrators import Role
from gateway.errors import Forbidden
from gateway.store.engine import reading
from gateway.web.deployment import Deployment
from gateway.web.login import ADMIN_COOKIE
from gateway.web.operations import Operation, Proof

READING = frozenset({"GET", "HEAD"})
ROLES = {Proof.AUDITOR: Role.AUDITOR, Proof.OPERATOR: Role.OPERATOR, Proof.ADMINISTRATOR: Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who manages: the name that the audit log shows, the role, and until when. `csrf` is for browsers alone."""

    name: str
    role: Role
    expires_at: datetime
    csrf: str | None = None


Managed = Callable[[Deployment, Request, bytes, Manager], Response]


def operation(
    address: str, summary: str, proof: Proof, success: int, work: Managed, *, body: str | None = None
) -> Operation:
    """Make an operation at `METHOD /path` that only who shows `proof` reaches."""
    method, _, path = address.partition(" ")
    return Operation(method, path, summary, proof, success, functools.partial(_guarded, work, ROLES[proof]), body=body)


def _guarded(work: Managed, role: Role, gateway: Deployment, request: Request, body: bytes) -> Response:
    manager = authorise(gateway, request, now=gateway.clock.now())
    if not manager.role.includes(role):
        raise Forbidden("role", f"this needs the role {role}; {manager.name} has {manager.role}")
    return work(gateway, request, body, manager)


def authorise(gateway: Deployment, request: Request, *, now: datetime) -> Manager:
    """Give who asks. Raises Unauthenticated, or Forbidden for a browser's change without its token."""
    given = request.headers.get("authorization")
    if given is not None and given[:7].lower() == "bearer ":
        with reading(gateway.engine) as db:
            token, role = api_tokens.by_secret(db, given[7:].strip(), now=now)
        return Manager(f"api-token:{token.name}", role, token.expires_at)
    cookie = request.cookies.get(ADMIN_COOKIE)
    with reading(gateway.engine) as db:
        found = administrators.by_cookie(db, cookie, now=now)
        assert cookie is not None
        if request.method not in READING:
            administrators.check_csrf(cookie, request.headers.get("x-sallyport-csrf"))
        if gateway.management.tier is not None:
            administrators.check_posture(db, found, gateway.management.tier, gateway.in_force.policy, now=now)
    return Manager(found.user, Role(found.role), found.expires_at, administrators.csrf_token(cookie))
