"""Logging out here, and at the provider with it (OpenID Connect RP-Initiated Logout 1.0).

What lives by the login ends before the browser is sent to the provider. The browser comes back with a state that only we
can have made; without it nothing is said, so that nobody is shown a logout that never was.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access import administrators, audit, logout
from gateway.access.audit import Event
from gateway.access.logout import Cause
from gateway.access.sessions import EndReason
from gateway.errors import Malformed, ProviderError, Unauthenticated
from gateway.identity import sealing
from gateway.store.engine import reading, writing
from gateway.web import pages
from gateway.web.deployment import Deployment
from gateway.web.login import ADMIN_COOKIE
from gateway.web.operations import Operation, Proof, answer_json

FORM = "application/x-www-form-urlencoded"
CONTEXT = b"sallyport logout state 1"
LIFETIME = timedelta(minutes=10)
LOGGED_OUT = "/logged-out"


def log_out(gateway: Deployment, request: Request, body: bytes) -> Response:
    """End an administrator's browser session, and lead the browser to the provider's own logout."""
    now = gateway.clock.now()
    cookie = request.cookies.get(ADMIN_COOKIE)
    with writing(gateway.engine) as db:
        found = administrators.by_cookie(db, cookie, now=now)
        assert cookie is not None
        administrators.check_csrf(cookie, request.headers.get("x-sallyport-csrf") or _csrf(body))
        provider, hint = found.provider, found.id_token
        db.delete(found)
        audit.record(db, Event.ADMINISTRATOR_LOGGED_OUT, now=now, actor=found.user, issuer=found.issuer)
    answer = RedirectResponse(end_session_url(gateway, provider, hint, now=now), 303)
    answer.delete_cookie(ADMIN_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def logged_out(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Take the browser back from the provider. Raises Unauthenticated `logout-state` unless it comes from a logout of ours."""
    now = gateway.clock.now()
    try:
        members = json.loads(sealing.unseal(request.query_params.get("state", ""), gateway.cookie_key, CONTEXT))
        begun_at = datetime.fromtimestamp(members["at"], UTC)
    except ValueError:
        raise Unauthenticated("logout-state", "this is no answer to a logout that began here") from None
    if not now - LIFETIME < begun_at <= now + timedelta(seconds=30):
        raise Unauthenticated("logout-state", "the logout took longer than ten minutes; it has happened here already")
    return pages.page("Logged out", pages.text("You are logged out."))


def end_session_url(gateway: Deployment, provider: str, sealed_hint: str | None, *, now: datetime) -> str:
    """Say where the browser goes: to the provider's logout where it has one, else to our own last page."""
    state = sealing.seal(
        json.dumps({"at": now.timestamp()}).encode(), gateway.cookie_key, CONTEXT, entropy=gateway.entropy
    )
    back = f"{gateway.public_url}{LOGGED_OUT}"
    try:
        party = gateway.providers.named(provider).party
        hint = gateway.unseal(sealed_hint) if sealed_hint else None
        there = party.end_session_url(hint, redirect_uri=back, state=state, now=now)
    except (ProviderError, Malformed, ValueError):
        there = None  # the logout here has happened; a provider that is away cannot undo it
    return there or f"{LOGGED_OUT}?{urlencode({'state': state})}"


def _csrf(body: bytes) -> str | None:
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=4)).get("csrf")
    except ValueError:
        return None


__all__ = ["Cause", "EndReason", "OPERATIONS", "answer_json", "logout", "reading"]

OPERATIONS = (
    Operation("POST", "/logout", "Log out as an administrator", Proof.ADMINISTRATOR_CSRF, 303, log_out, body=FORM),
    Operation("GET", LOGGED_OUT, "Come back from the provider's logout", Proof.LOGOUT_STATE, 200, logged_out),
)
