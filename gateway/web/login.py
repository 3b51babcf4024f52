"""The browser's part of a login: to the provider, back from it, and on to where it began.

The state is sealed in a cookie of the browser that began, so a callback that somebody else prepared is refused. The only
places that a redirect can lead to are the provider, the loopback address that the device signed, and our own pages.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access import administrators, attempts, audit, enrolment, step_up
from gateway.access.audit import Event
from gateway.errors import Forbidden, Malformed, Refused, Unauthenticated
from gateway.identity import login_state
from gateway.identity.login_state import NOTHING, Demand
from gateway.identity.oidc import ANOTHER_LOGIN, VerifiedLogin
from gateway.identity.providers import Provider
from gateway.store.engine import reading, writing
from gateway.web import device_login, pages, problems
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof, answer_json

LOGIN_COOKIE = "__Host-sallyport-login"
ADMIN_COOKIE = "__Host-sallyport-admin"
ADMIN = "admin"
ENROLMENT = "enrolment:"
STATE_SECONDS = 600
LONGEST_HINT = 255
LONGEST_HINTED = 4096
"""Bytes of an ID token that is kept to be shown at the logout: it becomes part of an address."""


def login_device(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Send the browser to the provider to log in on a device."""
    now = gateway.clock.now()
    with reading(gateway.engine) as db:
        pending = enrolment.pending(db, request.path_params["enrolment"], now=now)
    return choose(gateway, request, ENROLMENT + pending.id, now=now, demand=step_up.demand(pending))


def login_administrator(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Send the browser to the provider to log in as an administrator."""
    return choose(gateway, request, ADMIN, now=gateway.clock.now())


def initiated(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Begin a login that a provider's portal asks for (OIDC Core 4): it lets people log in, and decides nothing else.

    The issuer must be the configured one, and what the browser is to see afterwards must be ours, or this were an open
    redirect. It is an administrator's login: a device begins its own.
    """
    asked = request.query_params
    provider = gateway.providers.by_issuer(asked.get("iss"))
    if provider is None:
        raise Malformed("login-issuer", "iss must be a configured provider's, letter for letter")
    target, hint = asked.get("target_link_uri"), asked.get("login_hint")
    if target is not None and not (target == gateway.public_url or target.startswith(f"{gateway.public_url}/")):
        raise Malformed("login-target", f"target_link_uri must begin with {gateway.public_url}/")
    if hint is not None:
        _check_hint(hint, "login_hint")
    return _to_provider(gateway, provider, ADMIN, now=gateway.clock.now(), hint=hint)


def callback(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Take the browser back from the provider. Its answer to this login uses the state cookie up, also by a refusal."""
    now = gateway.clock.now()
    gateway.clock.check()
    cookie = request.cookies.get(LOGIN_COOKIE)
    if cookie is None:
        raise Unauthenticated("login-not-begun", "this browser has not begun a login here, or it took too long")
    state = login_state.unseal(cookie, gateway.cookie_key, now=now)
    if state.provider != request.path_params.get("provider", ""):  # the address of one provider, the login of another
        raise Unauthenticated(ANOTHER_LOGIN, "this answer belongs to another login; begin again")
    try:
        provider = gateway.providers.named(state.provider)
        login = provider.party.finish(request.query_params, state, now=now)
        answer = _finish(gateway, provider, login, request.cookies.get(ADMIN_COOKIE), now=now)
    except Refused as refused:
        if refused.code == ANOTHER_LOGIN:  # anybody can send a browser here: that must not end the login it has begun
            raise
        answer = problems.answer(request, refused)
    answer.delete_cookie(LOGIN_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def client_keys(gateway: Deployment, _request: Request, _body: bytes) -> Response:
    """Publish what the gateway signs with as a client (RFC 7517), for the provider to register."""
    return answer_json({"keys": gateway.providers.published_keys()})


def choose(gateway: Deployment, request: Request, purpose: str, *, now: datetime, demand: Demand = NOTHING) -> Response:
    """Send the browser to the provider that it means by its button or e-mail address; without one, ask."""
    asked = request.query_params
    email = asked.get("email")
    if email is not None:
        _check_hint(email, "email")
    provider = gateway.providers.only
    if "provider" in asked:
        provider = gateway.providers.named(asked["provider"])
    elif email is not None and provider is None:
        provider = gateway.providers.by_email(email)
    if provider is None:
        return _choices(gateway, request.scope["path"], unknown=email is not None)
    return _to_provider(gateway, provider, purpose, now=now, hint=email, demand=demand)


def _choices(gateway: Deployment, path: str, *, unknown: bool) -> Response:
    listed = [(provider.name, provider.label) for provider in gateway.providers]
    return pages.page(
        "Log in",
        pages.text("No provider is known for this address; choose one.") if unknown else "",
        pages.form("get", path, pages.field("email", "E-mail address", "email"), pages.button("Go on")),
        pages.form("get", path, pages.buttons("provider", listed)),
    )


def _check_hint(hint: str, name: str) -> None:
    if not (0 < len(hint) <= LONGEST_HINT and hint.isprintable()):
        raise Malformed("login-hint", f"{name} must be a printable text of at most {LONGEST_HINT} characters")


def _to_provider(
    gateway: Deployment,
    provider: Provider,
    purpose: str,
    *,
    now: datetime,
    hint: str | None = None,
    demand: Demand = NOTHING,
) -> Response:
    lasting = gateway.in_force.policy.session.check_login is not None and purpose != ADMIN
    begun = provider.party.begin(purpose, entropy=gateway.entropy, now=now, hint=hint, demand=demand, lasting=lasting)
    answer = RedirectResponse(begun.url, 303)
    _set_cookie(answer, LOGIN_COOKIE, login_state.seal(begun.state, gateway.cookie_key), STATE_SECONDS)
    return answer


def _finish(
    gateway: Deployment, provider: Provider, login: VerifiedLogin, before: str | None, *, now: datetime
) -> Response:
    login = _sealed(gateway, login)
    try:
        if login.purpose == ADMIN:
            return _admit(gateway, provider, login, before, now=now)
        with writing(gateway.engine) as db:
            attempts.spend(db, login.state, now=now)
            name = login.purpose.removeprefix(ENROLMENT)
            bound = enrolment.bind(db, name, login, now=now, entropy=gateway.entropy)
            row = enrolment.pending(db, name, now=now)
        return device_login.question(row, login.user, bound) if row.user_code else RedirectResponse(bound, 303)
    except Refused as refused:
        event = Event.ADMINISTRATOR_REFUSED if login.purpose == ADMIN else Event.LOGIN_REFUSED
        with writing(gateway.engine) as db:
            audit.record(db, event, now=now, actor=login.user, issuer=login.issuer, code=refused.code)
        raise


def _sealed(gateway: Deployment, login: VerifiedLogin) -> VerifiedLogin:
    """Give the login with the provider's tokens as they may be kept; those that nobody will need are dropped."""
    shown = login.id_token if login.id_token and len(login.id_token) <= LONGEST_HINTED else None
    renewed = login.refresh_token if gateway.in_force.policy.session.check_login is not None else None
    return replace(
        login,
        id_token=gateway.seal(shown) if shown else None,
        refresh_token=gateway.seal(renewed) if renewed else None,
    )


def _admit(
    gateway: Deployment, provider: Provider, login: VerifiedLogin, before: str | None, *, now: datetime
) -> Response:
    """A login makes a new cookie and ends the one that the browser had (ASVS 7.2.4)."""
    if not provider.administrators:
        raise Forbidden("not-an-administrator", f"{login.user} comes from a provider whose users manage nothing here")
    with writing(gateway.engine) as db:
        attempts.spend(db, login.state, now=now)
        administrators.end(db, before)
        cookie = administrators.begin(db, login, gateway.management, now=now, entropy=gateway.entropy)
    answer = RedirectResponse("/v1/admin/me", 303)
    _set_cookie(answer, ADMIN_COOKIE, cookie, int(administrators.LIFETIME.total_seconds()))
    return answer


def _set_cookie(answer: Response, name: str, value: str, seconds: int) -> None:
    """RFC 6265bis: `__Host-` needs Secure, Path=/ and no Domain. Lax, because the provider sends the browser back."""
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


OPERATIONS = (
    Operation("GET", "/login/admin", "Log in as an administrator", Proof.NOTHING, 303, login_administrator),
    Operation("GET", "/login/initiate", "Log in as the provider's portal asks", Proof.NOTHING, 303, initiated),
    Operation("GET", "/login/{enrolment}", "Log in on a device", Proof.NOTHING, 303, login_device),
    Operation("GET", "/jwks.json", "The gateway's keys as a client of the provider", Proof.NOTHING, 200, client_keys),
    Operation("GET", "/callback", "Come back from the provider", Proof.BROWSER, 303, callback),
    Operation("GET", "/callback/{provider}", "Come back from this provider", Proof.BROWSER, 303, callback),
)
