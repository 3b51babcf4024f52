"""The browser's part of a login on a machine without a screen: the code is typed, the login done, the device looked at."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access import device_grant
from gateway.errors import Malformed, NotFound
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web import pages
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 8
LONGEST_CODE = 32


def enter(gateway: Deployment, request: Request, _body: bytes) -> Response:
    """Ask for the code, or go on to the login with it. Wrong codes are limited by address and altogether."""
    typed = request.query_params.get("user_code")
    if typed is None:
        return pages.page(
            "Log in a device",
            pages.text("Type the code that the device shows. Never type one that somebody sent you."),
            pages.form("get", "/device", pages.field("user_code", "Code"), pages.button("Go on")),
        )
    now, address = gateway.clock.now(), request.client.host if request.client else ""
    gateway.guesses.check(address, now=now)
    try:
        with reading(gateway.engine) as db:
            found = device_grant.by_code(db, typed[:LONGEST_CODE], now=now)
    except NotFound:
        gateway.guesses.wrong(address, now=now)
        raise
    return RedirectResponse(f"/login/{found.id}", 303)


def question(row: tables.Enrolment, user: str, bound: str) -> Response:
    """Show which device asks to be let in, and from where. `bound` has the secret that only this page knows."""
    secret = parse_qs(urlsplit(bound).query)["code"][0]
    seen = {"Device": row.name, "System": row.platform, "Asked from": row.origin or "unknown", "Key": row.device[:12]}
    return pages.page(
        "Let this device in?",
        pages.text(f"You are logged in as {user}. This device asks to work under your name:"),
        pages.facts(seen),
        pages.text("Allow it only if you began this yourself, on that machine, a moment ago."),
        pages.form(
            "post",
            "/device/consent",
            pages.hidden("enrolment", row.id),
            pages.hidden("secret", secret),
            pages.buttons("answer", (("deny", "No"), ("allow", "Yes, it is mine"))),
        ),
    )


def decide(gateway: Deployment, _request: Request, body: bytes) -> Response:
    """Take the person's answer."""
    said = _fields(body)
    if said.get("answer") not in ("allow", "deny"):
        raise Malformed("form", "answer must be allow or deny")
    allowed, now = said["answer"] == "allow", gateway.clock.now()
    with writing(gateway.engine) as db:
        device_grant.consent(db, said.get("enrolment", ""), said.get("secret", ""), allowed=allowed, now=now)
    if not allowed:
        return pages.page(
            "Refused", pages.text("The device was not let in. Tell your administrator if you did not begin this.")
        )
    return pages.page("You are logged in", pages.text("You can close this window; the device goes on by itself."))


def _fields(body: bytes) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Malformed("form", f"the body must be a form of at most {MOST_FIELDS} fields") from None


OPERATIONS = (
    Operation("GET", "/device", "Log in on a device without a screen", Proof.NOTHING, 200, enter),
    Operation("POST", "/device/consent", "Let a device in, or not", Proof.CONSENT, 200, decide, body=FORM),
)
