"""Who may use what: every route is asked by every kind of caller, and exactly those of the table get through."""

from __future__ import annotations

import contextlib
import json
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlmodel import select
from starlette.routing import Route

from agent import wire
from gateway.access import administrators, api_tokens, breaker, custody, enrolment_keys, sessions
from gateway.access.administrators import Role
from gateway.access.identifiers import digest
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web.app import OPERATIONS, make_app
from gateway.web.login import ADMIN_COOKIE, LOGIN_COOKIE
from gateway.web.operations import Operation, Proof
from gateway.web.rp_logout import end_session_url
from gateway.web.security_events import SET
from tests.sim.asgi import Answered, ask
from tests.sim.gateway import FULL, START, Device, World
from tests.sim.provider import Provider, Signer, jws
from tests.sim.transmitter import CAEP, PUSH_SECRET, SimulatedTransmitter

FORM = "application/x-www-form-urlencoded"
NOBODYS = "a stranger's key"
DEVICES = (NOBODYS, "the device", "another device", "a killed device")
MANAGERS = {"an auditor": "audra", "an operator": "oscar", "an administrator": "carol"}
ROLES = {"an auditor": Role.AUDITOR, "an operator": Role.OPERATOR, "an administrator": Role.ADMIN}
CALLERS = (
    "nobody",
    "an employee's browser",
    *DEVICES,
    "a pending device",
    "a revoked device",
    "a device with another's token",
    "a device with an old token",
    "a token without a proof",
    "a machine with an enrolment key",
    "the browser that began",
    "the provider",
    "another provider",
    "the transmitter",
    "another transmitter",
    *(f"{manager}'s browser" for manager in MANAGERS),
    *(f"{manager}'s page" for manager in MANAGERS),
    *(f"{manager}'s program" for manager in MANAGERS),
    "an expired administrator",
    "an expired program",
    "a revoked program",
    "a forged cookie",
    "a forged API token",
    "a cookie with another's token",
)


def at_least(role: Role) -> set[str]:
    """Who manages with this role or a higher one, reading or changing."""
    return {
        f"{manager}'s {how}" for manager in MANAGERS for how in ("page", "program") if ROLES[manager].includes(role)
    }


MAY: Mapping[Proof, set[str]] = {
    Proof.NOTHING: set(CALLERS),
    Proof.ANY_KEY: {*DEVICES, "a pending device", "a machine with an enrolment key"},
    Proof.DEVICE: {"the device", "another device"},
    Proof.OWNER: {"the device"},
    Proof.ENROLMENT_KEY: {"a machine with an enrolment key"},
    Proof.DEVICE_TOKEN: {"the device", "another device", "a killed device", "a pending device"},
    Proof.OWNER_TOKEN: {"the device"},
    Proof.HOLDER: {"the device", "another device", "a killed device", "a pending device"},
    Proof.PROVIDER: {"the provider"},
    Proof.TRANSMITTER: {"the transmitter"},
    Proof.CONSENT: set(),  # those who have it: test_device_login.py
    Proof.BROWSER: {"the browser that began"},
    Proof.AUDITOR: at_least(Role.AUDITOR),
    Proof.OPERATOR: at_least(Role.OPERATOR),
    Proof.ADMINISTRATOR: at_least(Role.ADMIN),
}
"""The census: for each row of the table exactly these callers, and nobody else. Tokens alone open no session; a device
that was killed or waits may have them, and nothing to use them for."""


def may(operation: Operation) -> set[str]:
    """A browser may read without the CSRF token, and change nothing."""
    allowed = MAY[operation.proof]
    if operation.proof in (Proof.AUDITOR, Proof.OPERATOR, Proof.ADMINISTRATOR) and operation.method == "GET":
        allowed = allowed | {caller.replace("page", "browser") for caller in allowed}
        allowed |= {"a cookie with another's token"}
    return allowed


@dataclass
class Stage:
    """A gateway with everybody who may knock at it."""

    world: World
    provider: Provider
    transmitter: SimulatedTransmitter
    devices: dict[str, Device]
    enrolment: str
    code: str
    query: dict[str, str]
    cookies: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def device(self) -> Device:
        return self.devices["the device"]

    def path(self, operation: Operation) -> str:
        """The address of the victim's things."""
        path = operation.path.replace("{session}", self.device.session).replace("{enrolment}", self.enrolment)
        path = path.replace("/{provider}", "")  # those of several providers: test_providers.py
        for name, value in {**self.ids, "hold": "1"}.items():
            path = path.replace(f"{{{name}}}", value)
        if path == "/logged-out":
            deployment = self.world.deployment
            return end_session_url(deployment, "", None, now=deployment.clock.now()).removeprefix(deployment.public_url)
        query = {"/callback": self.query, "/login/initiate": {"iss": self.world.issuer}}.get(path)
        return f"{path}?{urlencode(query)}" if query else path


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """For a test that gets somebody in."""
    with built(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For tests that get nobody in and so change nothing."""
    with built(tmp_path_factory.mktemp("closed")) as stage:
        before = state(stage)
        yield stage
        assert state(stage) == before


@contextlib.contextmanager
def built(folder: Path) -> Iterator[Stage]:
    world, provider = World(folder), Provider()
    world.use_provider(provider)
    transmitter = SimulatedTransmitter()
    receiver = transmitter.receiver(world.engine)
    world.deployment = replace(world.deployment, receiver=receiver, tpm_roots=(ROOT,), tpm_pcrs=(7,))
    receiver.ensure(now=world.clock.time)
    world.browser = world.new_browser()
    world.tick()
    expired = admitted(world, provider)
    world.clock.time += administrators.LIFETIME
    provider.now = transmitter.now = world.clock.time
    devices = {
        name: Device(world, name) for name in (*DEVICES, "a pending device", "a revoked device", "spare", "machine")
    }
    for name, device in devices.items():
        if name not in (NOBODYS, "machine"):
            assert device.log_in_at(provider, "bob" if name == "another device" else "alice").status_code == 200
            device.connect()
    killed = devices["a killed device"]
    world.deployment.enforcement.kill(killed.session, by="carol", reason="lost", now=world.clock.time)
    with writing(world.engine) as db:
        custody.revoke(db, devices["a revoked device"].id, by="carol", reason="lost", now=world.clock.time)
        sessions.end(
            db,
            db.get(tables.Session, devices["a pending device"].session),
            sessions.EndReason.LEFT,
            now=world.clock.time,
        )
        db.get(tables.Device, devices["a pending device"].id).approved_at = None

    with writing(world.engine) as db:
        breaker.open_hold(db, "check:antivirus-on", affected=5, live=5, now=world.clock.time)
    name = devices["the device"].ask_enrolment().json()["enrolment"]
    bound = devices["the device"].come_back(devices["the device"].leave_for(provider, name))
    cookies = {manager: admitted(world, provider, user) for manager, user in MANAGERS.items()}
    world.browser = world.new_browser()
    query = provider.authorize(world.browser.get("/login/admin").headers["location"], "carol")
    stage = Stage(world, provider, transmitter, devices, name, bound.headers["location"].partition("code=")[2], query)
    stage.cookies = {"began": world.browser.cookies[LOGIN_COOKIE], "expired": expired, **cookies}
    give_secrets(stage)
    yield stage
    world.close()


def give_secrets(stage: Stage) -> None:
    world, hour = stage.world, timedelta(hours=1)
    common: dict[str, Any] = {"by": "carol", "now": world.clock.time, "entropy": world.entropy}
    with writing(world.engine) as db:
        for manager, role in ROLES.items():
            _, stage.secrets[manager] = api_tokens.create(db, name=manager, role=role, lifetime=hour, **common)
        for name, lifetime in {"expired": timedelta(0), "revoked": hour, "victim": hour}.items():
            row, stage.secrets[name] = api_tokens.create(db, name=name, role=Role.ADMIN, lifetime=lifetime, **common)
            stage.ids["token"] = row.id
            if name == "revoked":
                api_tokens.revoke(db, row.id, by="carol", now=world.clock.time)
        row, stage.secrets["enrolment"] = enrolment_keys.create(
            db, name="build", groups=["staff"], lifetime=hour, login_days=1, **common
        )
        other, _ = enrolment_keys.create(db, name="other", groups=[], lifetime=hour, login_days=1, **common)
    stage.ids |= {"key": other.id, "device": stage.devices["spare"].id}


def admitted(world: World, provider: Provider, user: str = "carol") -> str:
    """The cookie of a manager who has just logged in."""
    browser = world.new_browser()
    browser.get("/callback", params=provider.authorize(browser.get("/login/admin").headers["location"], user))
    return str(browser.cookies[ADMIN_COOKIE])


# what each caller brings


def nothing(stage: Stage, operation: Operation) -> dict[str, str]:
    return {}


def cookie(kept: str, name: str = ADMIN_COOKIE) -> Callable[[Stage, Operation], dict[str, str]]:
    return lambda stage, _: {"cookie": f"{name}={stage.cookies[kept]}"}


def page(cookie: str, token_of: str) -> Callable[[Stage, Operation], dict[str, str]]:
    return lambda stage, _: {
        "cookie": f"{ADMIN_COOKIE}={stage.cookies[cookie]}",
        "x-sallyport-csrf": administrators.csrf_token(stage.cookies[token_of]),
    }


def proof(name: str) -> Callable[[Stage, Operation], dict[str, str]]:
    """An access token of this device with its proof; at the token endpoint the proof alone."""

    def headers(stage: Stage, operation: Operation) -> dict[str, str]:
        device, path = stage.devices[name], stage.path(operation)
        if operation.proof is Proof.DEVICE_TOKEN:
            return {"dpop": device.proof(operation.method, path)}
        return device.authorization(operation.method, path)

    return headers


def anothers_token(stage: Stage, operation: Operation) -> dict[str, str]:
    """A stolen access token, with a proof by the thief's own key."""
    token = stage.device.authorization("GET", "/")["authorization"].removeprefix("DPoP ")
    thief, path = stage.devices["another device"], stage.path(operation)
    return {"authorization": f"DPoP {token}", "dpop": thief.proof(operation.method, path, token=token)}


def old_token(stage: Stage, operation: Operation) -> dict[str, str]:
    before = stage.world.clock.time - timedelta(hours=1)
    token = stage.world.deployment.mint.access_token(stage.device.id, now=before, entropy=stage.world.entropy)
    proof = stage.device.proof(operation.method, stage.path(operation), token=token)
    return {"authorization": f"DPoP {token}", "dpop": proof}


def bearer(name: str) -> Callable[[Stage, Operation], dict[str, str]]:
    return lambda stage, _: {"authorization": f"Bearer {stage.secrets[name]}"}


HEADERS: Mapping[str, Callable[[Stage, Operation], dict[str, str]]] = {
    "nobody": nothing,
    "an employee's browser": lambda *_: {
        "accept": "text/html",
        "cookie": "theme=dark",
        "origin": "https://evil.example",
    },
    **{name: proof(name) for name in (*DEVICES, "a pending device", "a revoked device")},
    "a device with another's token": anothers_token,
    "a device with an old token": old_token,
    "a token without a proof": lambda stage, _: {
        "authorization": stage.device.authorization("GET", "/")["authorization"]
    },
    "a machine with an enrolment key": nothing,
    "the browser that began": cookie("began", LOGIN_COOKIE),
    "the provider": nothing,
    "another provider": nothing,
    "the transmitter": lambda *_: {"authorization": f"Bearer {PUSH_SECRET}"},
    "another transmitter": lambda *_: {"authorization": "Bearer of another stream"},
    **{f"{manager}'s browser": cookie(manager) for manager in MANAGERS},
    **{f"{manager}'s page": page(manager, manager) for manager in MANAGERS},
    **{f"{manager}'s program": bearer(manager) for manager in MANAGERS},
    "an expired administrator": page("expired", "expired"),
    "an expired program": bearer("expired"),
    "a revoked program": bearer("revoked"),
    "a forged cookie": lambda *_: {
        "cookie": f"{ADMIN_COOKIE}=forged",
        "x-sallyport-csrf": administrators.csrf_token("forged"),
    },
    "a forged API token": lambda *_: {"authorization": f"Bearer {api_tokens.PREFIX}{'A' * 43}"},
    "a cookie with another's token": page("an administrator", "expired"),
}
SIGNERS = {
    **{name: name for name in (*DEVICES, "a pending device", "a revoked device")},
    "a machine with an enrolment key": "machine",
}
"""Who signs bodies, and with which device's key."""

DESCRIPTION = {"name": "x", "platform": "linux", "agent_version": "0.1.0"}
SAYS: Mapping[str, tuple[str, Callable[[Stage, Device], dict[str, Any]]]] = {
    "/v1/enrolments": (wire.TYP_ENROLMENT, lambda *_: {**DESCRIPTION, "redirect_uri": "http://127.0.0.1:4711/"}),
    "/v1/enrolments/redeem": (
        wire.TYP_REDEMPTION,
        lambda stage, device: {
            **DESCRIPTION,
            "enrolment_key": stage.secrets["enrolment" if device.name == "machine" else "an administrator"],
        },
    ),
    "/v1/enrolments/{enrolment}/confirm": (wire.TYP_CONFIRM, lambda stage, _: {"code": stage.code}),
    "/v1/logout": (wire.TYP_LOGOUT, lambda *_: {}),
    "/v1/sessions": (wire.TYP_SESSION, lambda _, device: {"nonce": device.nonce}),
}
"""What a device signs for each address, beside the report."""

KEY = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def signed(stage: Stage, operation: Operation, caller: str) -> bytes:
    """The body that would get through if the key were the right one."""
    if caller not in SIGNERS:
        return b""
    device, victim = stage.devices[SIGNERS[caller]], stage.device
    if operation.path == "/v1/sessions/{session}/reports":
        own = (device.session, device.nonce, device.sequence)
        device.session, device.nonce, device.sequence = victim.session, victim.nonce, victim.sequence
        body = device.report_body()
        device.session, device.nonce, device.sequence = own
        return body.encode()
    typ, claims = SAYS[operation.path]
    return device.sign(typ, claims(stage, device)).encode()


def form(stage: Stage, operation: Operation, caller: str) -> bytes:
    return (token_request if operation.path == "/v1/token" else logout_token)(stage, caller)


def token_request(stage: Stage, caller: str) -> bytes:
    if caller not in SIGNERS:
        return b"grant_type=refresh_token&refresh_token=x"
    assertion = stage.devices[SIGNERS[caller]].sign(wire.TYP_ASSERTION, {})
    return urlencode({"grant_type": wire.GRANT_ASSERTION, "assertion": assertion}).encode()


def logout_token(stage: Stage, caller: str) -> bytes:
    draft = stage.provider.logout(sub="sub-alice")
    if caller == "the provider":
        return urlencode({"logout_token": draft.sign()}).encode()
    if caller == "another provider":
        return urlencode({"logout_token": jws(draft.header, draft.claims, Signer("other").sign)}).encode()
    return b"logout_token=x"


def event(stage: Stage, operation: Operation, caller: str) -> bytes:
    about = {"format": "iss_sub", "iss": stage.provider.issuer, "sub": "sub-alice"}
    draft = stage.transmitter.event(f"{CAEP}session-revoked", about)
    signer = draft.signer if caller in ("the transmitter", "another transmitter") else Signer("other")
    return jws(draft.header, draft.claims, signer.sign).encode()


MAKER = ec.generate_private_key(ec.SECP256R1())
ENDORSEMENT = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET = b"the secret of the challenge"


def certificate(name: str, key: Any, issuer: str, *, authority: bool) -> x509.Certificate:
    name_of = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
    builder = x509.CertificateBuilder().subject_name(name_of(name)).issuer_name(name_of(issuer)).public_key(key)
    builder = (
        builder.serial_number(1).not_valid_before(START - timedelta(days=1)).not_valid_after(START + timedelta(days=9))
    )
    return builder.add_extension(x509.BasicConstraints(authority, None), True).sign(MAKER, hashes.SHA256())


ROOT = certificate("maker", MAKER.public_key(), "maker", authority=True)
CHIP = certificate("chip", ENDORSEMENT.public_key(), "maker", authority=False).public_bytes(Encoding.DER)


def attestation_area() -> bytes:
    """A TPMT_PUBLIC as a TPM makes it; which key it is does not matter before the activation."""
    point = MAKER.public_key().public_numbers()
    sized = b"".join(b"\0\x20" + number.to_bytes(32, "big") for number in (point.x, point.y))
    attributes = sum(1 << bit for bit in (1, 4, 5, 6, 16, 18))
    return struct.pack(">HHIH6H", 0x23, 0xB, attributes, 0, 0x10, 0x18, 0xB, 0x3, 0x10, 0)[:-2] + sized


MEMBERS: Mapping[str, dict[str, Any]] = {
    "/v1/attestation": {
        "certificate": b64encode(CHIP).decode(),
        "key": b64encode(attestation_area()).decode(),
    },
    "/v1/attestation/activation": {"secret": b64encode(SECRET).decode()},
    "/v1/sessions/{session}/credential": {"public_key": KEY},
    "/v1/admin/enrolment-keys": {"name": "build-2"},
    "/v1/admin/api-tokens": {"name": "pipeline", "role": "auditor"},
    "/v1/admin/security-events/status": {"status": "paused"},
}
BODIES: Mapping[str | None, Callable[[Stage, Operation, str], bytes]] = {
    None: lambda *_: b"",
    wire.JOSE: signed,
    FORM: form,
    SET: event,
    "application/json": lambda _, operation, __: json.dumps(MEMBERS.get(operation.path, {"reason": "lost"})).encode(),
}


def knock(stage: Stage, operation: Operation, caller: str, *, method: str | None = None) -> Answered:
    """One caller at one operation."""
    if operation.path.endswith("/release"):
        quarantine(stage)
    headers = dict(HEADERS[caller](stage, operation)) | ({"content-type": operation.body} if operation.body else {})
    body = BODIES[operation.body](stage, operation, caller)
    app = make_app(stage.world.deployment, work=False)
    return ask(app, method or operation.method, stage.path(operation), headers, body)


def restore(stage: Stage) -> None:
    """What the caller before may have used up: the stream, and the breaker's hold."""
    if stage.world.deployment.receiver is not None:
        stage.world.deployment.receiver.ensure(now=stage.world.clock.time)
    with writing(stage.world.engine) as db:
        for device in db.exec(select(tables.Device)).all():
            until = stage.world.clock.time.timestamp() + 60
            device.attestation = {
                "pending": {"endorsement": "x", "key": "x", "digest": digest(SECRET.hex()), "until": until}
            }
        hold = db.get(tables.Hold, 1)
        hold.closed_at = hold.closed_by = hold.outcome = None


def quarantine(stage: Stage) -> None:
    with writing(stage.world.engine) as db:
        found = db.get(tables.Device, stage.ids["device"])
        found.quarantined_at = found.quarantined_at or stage.world.clock.time


def state(stage: Stage) -> list[Any]:
    """All that a caller could have changed to their advantage."""
    with reading(stage.world.engine) as db:
        kinds = (
            tables.Session, tables.Login, tables.Device, tables.Kill, tables.Administrator, tables.Logout,
            tables.EnrolmentKey, tables.ApiToken, tables.TokenFamily, tables.Hold,
        )  # fmt: skip
        return [row.model_dump() for kind in kinds for row in db.exec(select(kind)).all()]


EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")


@EACH
def test_exactly_those_of_the_table_get_through(stage: Stage, operation: Operation) -> None:
    allowed = may(operation)
    if operation.path.endswith("/release"):
        quarantine(stage)
    before = state(stage)
    for caller in (caller for caller in CALLERS if caller not in allowed):
        answer = knock(stage, operation, caller)
        assert answer.status in (400, 401, 403, 404, 409), (caller, answer)
        assert answer.code, (caller, "every refusal says which it is")
        assert state(stage) == before, caller
        assert stage.device.reach == FULL, caller
    for caller in (caller for caller in CALLERS if caller in allowed):
        restore(stage)
        answer = knock(stage, operation, caller)
        wanted = (200, 503) if operation.path == "/readyz" else (operation.success,)
        assert answer.status in wanted, (caller, answer)


@pytest.mark.parametrize(
    "operation",
    [o for o in OPERATIONS if o.proof in (Proof.OWNER, Proof.OWNER_TOKEN) and "{session}" in o.path],
    ids=lambda o: o.path,
)
def test_a_killed_device_gets_nothing_out_of_its_own_session(closed: Stage, operation: Operation) -> None:
    killed = closed.devices["a killed device"]
    own = replace(closed, devices={**closed.devices, "the device": killed})
    answer = knock(own, operation, "the device")
    assert (answer.status, answer.code) == (409, "session-ended")
    assert killed.reach is None


def test_every_route_of_the_application_is_in_the_table(stage: Stage) -> None:
    routes = make_app(stage.world.deployment, work=False).routes
    assert all(type(route) is Route for route in routes), "no mounts, no websockets, no files"
    found = {(method, route.path) for route in routes for method in route.methods - {"HEAD"}}
    assert found == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(routes) == len(OPERATIONS) == len(found)
    assert set(MAY) == set(Proof)
    assert set(HEADERS) == set(CALLERS)


def test_the_open_routes_are_these_and_no_others() -> None:
    """Whoever opens one more says so here."""
    opened = {operation.path for operation in OPERATIONS if operation.proof is Proof.NOTHING}
    assert opened == {
        "/device",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/jwks.json",
        "/login/admin",
        "/login/initiate",
        "/login/{enrolment}",
        "/logged-out",
    }


# tricks: none of them turns a refusal into an answer

TRICKS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "slash before": lambda path: f"/{path}",
    "slash after": lambda path: f"{path}/",
    "slashes doubled": lambda path: path.replace("/", "//"),
    "dot segment before": lambda path: f"/.{path}",
    "dot segment after": lambda path: f"{path}/.",
    "up from an open route": lambda path: f"/healthz/..{path}",
    "up from an open route, encoded": lambda path: f"/healthz/%2e%2e{path}",
    "up from an open route, slash encoded": lambda path: f"/healthz%2f..{path}",
    "slashes encoded": lambda path: "/" + path[1:].replace("/", "%2F"),
    "slashes encoded twice": lambda path: "/" + path[1:].replace("/", "%252F"),
    "backslashes": lambda path: path.replace("/", "\\"),
    "backslashes encoded": lambda path: "/" + path[1:].replace("/", "%5C"),
    "a letter encoded": lambda path: path.replace("e", "%65"),
    "capitals": lambda path: path.upper(),
    "parameters": lambda path: f"{path};x=/healthz",
    "NUL": lambda path: f"{path}%00",
    "newline": lambda path: f"{path}%0a",
    "space": lambda path: f"{path}%20",
    "suffix": lambda path: f"{path}.json",
    "fragment": lambda path: f"{path}#/healthz",
    "absolute": lambda path: f"https://gateway.example{path}",
    "absolute with a user": lambda path: f"https://healthz@gateway.example{path}",
    "query": lambda path: f"{path}?path=/healthz&_method=GET",
    "overlong dot": lambda path: f"/healthz/%c0%ae%c0%ae{path}",
}
HEADER_TRICKS: Mapping[str, dict[str, str]] = {
    **{
        name: {name: value}
        for name, value in {
            "x-original-url": "/healthz",
            "x-rewrite-url": "/healthz",
            "x-forwarded-uri": "/healthz",
            "x-forwarded-prefix": "/healthz",
            "x-forwarded-for": "127.0.0.1",
            "x-real-ip": "127.0.0.1",
            "x-forwarded-host": "127.0.0.1",
            "x-forwarded-user": "carol",
            "x-forwarded-email": "carol@example",
            "x-forwarded-groups": "sallyport-admins",
            "x-remote-user": "carol",
            "remote_user": "carol",
            "forwarded": "for=127.0.0.1;host=localhost",
            "host": "127.0.0.1",
            "authorization": "Bearer carol",
            "x-http-method-override": "GET",
            "x-http-method": "GET",
            "x-method-override": "GET",
            "upgrade": "websocket",
            "origin": "https://gateway.example",
        }.items()
    },
    "basic": {"authorization": "Basic Y2Fyb2w6Y2Fyb2w="},
    "device without a proof": {"authorization": "Sallyport "},
    "cookie without prefix": {"cookie": "sallyport-admin=x"},
    "cookie empty": {"cookie": f"{ADMIN_COOKIE}="},
    "cookie of a login": {"cookie": f"{ADMIN_COOKIE}=x; {LOGIN_COOKIE}=x"},
}
CLOSED = pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.proof is not Proof.NOTHING],
    ids=lambda o: f"{o.method} {o.path}",
)


@CLOSED
def test_no_way_of_writing_an_address_gets_nobody_in(closed: Stage, operation: Operation) -> None:
    app, before = make_app(closed.world.deployment, work=False), state(closed)
    headers = {"content-type": operation.body or "text/plain"}
    for name, trick in TRICKS.items():
        for method in {operation.method, "GET", "HEAD", "OPTIONS", operation.method.lower()}:
            answer = ask(app, method, trick(closed.path(operation)), headers)
            assert answer.status in (400, 401, 404, 405), (name, method, answer)
            assert "location" not in answer.headers
    assert state(closed) == before


@CLOSED
def test_no_header_gets_nobody_in_nor_changes_why(closed: Stage, operation: Operation) -> None:
    app, before = make_app(closed.world.deployment, work=False), state(closed)
    headers = {"content-type": operation.body or "text/plain"}
    plain = ask(app, operation.method, closed.path(operation), headers)
    for name, more in HEADER_TRICKS.items():
        answer = ask(app, operation.method, closed.path(operation), {**headers, **more})
        assert answer.status == plain.status in (400, 401), (name, answer)
    assert state(closed) == before


@CLOSED
def test_another_method_is_another_operation_or_none(closed: Stage, operation: Operation) -> None:
    app = make_app(closed.world.deployment, work=False)
    known = {o.method for o in OPERATIONS if o.path == operation.path}
    known |= {"HEAD"} if "GET" in known else set()
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "X"} - known:
        for caller in ("nobody", "an administrator's page", "an administrator's program"):
            headers = dict(HEADERS[caller](closed, operation)) | {"x-http-method-override": operation.method}
            answer = ask(app, method, closed.path(operation), headers)
            assert (answer.status, answer.code) == (405, "method-not-allowed"), method


def test_an_open_route_stays_itself_or_is_not_found(closed: Stage) -> None:
    app = make_app(closed.world.deployment, work=False)
    for name, trick in TRICKS.items():
        answer = ask(app, "GET", trick("/healthz"))
        assert (answer.status, answer.body) == (200, b"ok\n") or answer.status == 404, name
        assert "location" not in answer.headers


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.method == "GET"], ids=lambda o: o.path)
def test_head_is_refused_where_get_is(closed: Stage, operation: Operation) -> None:
    for caller in ("nobody", "a forged cookie", "an expired administrator", "a forged API token", NOBODYS):
        got, asked = knock(closed, operation, caller), knock(closed, operation, caller, method="HEAD")
        assert (asked.status < 400) == (got.status < 400), caller
