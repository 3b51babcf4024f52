"""Logging out here, and at the provider with it (OpenID Connect RP-Initiated Logout 1.0).

What lives by the login has ended before anybody is sent to the provider. The browser comes back with a state that only we
can have made; without it nothing is said, so that nobody is shown a logout that never was.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from agent import wire
from gateway.access import administrators, audit, devices, logout, sessions
from gateway.access.audit import Event
from gateway.access.logout import Cause
from gateway.access.sessions import EndReason
from gateway.errors import Malformed, ProviderError, Unauthenticated
from gateway.identity import device, sealing
from gateway.identity.device_key import DeviceKey
from gateway.store.engine import reading, writing
from gateway.web import pages
from gateway.web.deployment import Deployment
from gateway.web.login import ADMIN_COOKIE
from gateway.web.management import Manager, operation
from gateway.web.operations import Operation, Proof, answer_json

CONTEXT = b"sallyport logout state 1"
LIFETIME = timedelta(minutes=10)
CLOCK_STEP = timedelta(seconds=30)
LOGGED_OUT = "/logged-out"
LONGEST_STATE = 512


def log_out_manager(gateway: Deployment, request: Request, _body: bytes, manager: Manager) -> Response:
    """End the browser's session. Gives where to go next, which logs out at the provider; a program has nothing to end."""
    now = gateway.clock.now()
    provider, hint = "", None
    if manager.csrf is not None:
        with writing(gateway.engine) as db:
            found = administrators.by_cookie(db, request.cookies.get(ADMIN_COOKIE), now=now)
            provider, hint = found.provider, found.id_token
            db.delete(found)
            audit.record(db, Event.ADMINISTRATOR_LOGGED_OUT, now=now, actor=found.user, issuer=found.issuer)
    answer = answer_json({"location": end_session_url(gateway, provider, hint, now=now)})
    answer.delete_cookie(ADMIN_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def log_out_device(gateway: Deployment, _request: Request, body: bytes) -> Response:
    """End the device's logins and its session: its tunnel is gone when the answer goes out."""
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        key = DeviceKey.from_jwk(devices.jwk_of(db, device.device_id_of(body)))
    verified = device.verify_device(body, key, typ=wire.TYP_LOGOUT, now=now)
    with writing(gateway.engine) as db:
        devices.spend(db, verified.device, verified.claims.get("jti"), now=now)
        devices.approved(db, verified.device)
        logins = sessions.holding_logins(db, verified.device)
        if not logins:
            raise Unauthenticated("login-required", "this device has no login that could be ended")
        last = max(logins, key=lambda login: login.authenticated_at)
        provider, hint = last.provider, last.id_token
        cause = Cause("logged out on the device", EndReason.LOGGED_OUT, last.user)
        ended = logout.end_logins(db, logins, cause, now=now)
    if ended:
        gateway.follow(ended, now=now)
    return answer_json({"location": end_session_url(gateway, provider, hint, now=now)})


def logged_out(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Take the browser back from the provider. Raises Unauthenticated `logout-state` unless a logout began here."""
    now = gateway.clock.now()
    state = request.query_params.get("state", "")
    try:
        if len(state) > LONGEST_STATE:
            raise ValueError
        begun_at = datetime.fromtimestamp(json.loads(sealing.unseal(state, gateway.cookie_key, CONTEXT))["at"], UTC)
    except ValueError:
        raise Unauthenticated("logout-state", "this is no answer to a logout that began here") from None
    if not now - LIFETIME < begun_at <= now + CLOCK_STEP:
        raise Unauthenticated(
            "logout-state", "this logout took longer than ten minutes; here it happened at its beginning"
        )
    return pages.page("Logged out", pages.text("You are logged out."))


def end_session_url(gateway: Deployment, provider: str, sealed_hint: str | None, *, now: datetime) -> str:
    """Say where the browser goes: to the provider's logout where it has one, else to our own last page."""
    at = json.dumps({"at": now.timestamp()}).encode()
    state = sealing.seal(at, gateway.cookie_key, CONTEXT, entropy=gateway.entropy)
    back = f"{gateway.public_url}{LOGGED_OUT}"
    try:
        party = gateway.providers.named(provider).party
        hint = gateway.unseal(sealed_hint) if sealed_hint else None
        there = party.end_session_url(hint, redirect_uri=back, state=state, now=now)
    except (ProviderError, Malformed, ValueError):
        there = None  # the logout here has happened; a provider that is away cannot undo it
    return there or f"{back}?{urlencode({'state': state})}"


OPERATIONS = (
    operation("POST /v1/admin/logout", "Log out of the management", Proof.AUDITOR, 200, log_out_manager),
    Operation("POST", "/v1/logout", "Log out on a device", Proof.DEVICE, 200, log_out_device, body=wire.JOSE),
    Operation("GET", LOGGED_OUT, "Come back from the provider's logout", Proof.NOTHING, 200, logged_out),
)
