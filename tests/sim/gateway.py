"""A gateway in a test: the real database, application and enforcement, a simulated tunnel, and a clock turned by hand."""

from __future__ import annotations

import contextlib
import json
import random
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from agent import wire
from agent.wire import Fact
from gateway.access import enrolment
from gateway.access.addresses import Pool
from gateway.access.administrators import Management
from gateway.access.credentials import TunnelEnd
from gateway.access.devices import Admission
from gateway.access.enforcement import Enforcement
from gateway.access.follower import Follower
from gateway.access.tunnel import UapiTunnel
from gateway.errors import TunnelError
from gateway.identity.device_key import DeviceKey
from gateway.identity.http import Egress
from gateway.identity.oidc import RelyingParty, VerifiedLogin
from gateway.identity.proof_rules import ath
from gateway.identity.providers import Providers
from gateway.identity.tokens import Mint
from gateway.policy.load import loads
from gateway.policy.policy import Policy
from gateway.settings import Network
from gateway.store import tables
from gateway.store.engine import open_engine, reading, writing
from gateway.store.migrate import upgrade
from gateway.web import background
from gateway.web.app import make_app
from gateway.web.clock import Clock
from gateway.web.deployment import Deployment, ProviderCheck
from tests.sim.provider import LoginDesk, Provider
from tests.sim.tunnel import SimulatedTunnel

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ISSUER = "http://127.0.0.1:9"
ORIGIN = "https://gateway.example"

POLICY = """
policy: corporate
tiers: [full, limited, quarantine, denied]
resources:
  wiki: {destinations: [10.20.0.10/32], ports: [tcp/443]}
  payroll: {destinations: [10.20.5.0/24], ports: [tcp/443]}
  remediation: {destinations: [10.20.9.0/28], ports: [tcp/80]}
access:
  - {groups: [everyone], tier: limited, resources: [wiki]}
  - {groups: [finance], tier: full, resources: [payroll]}
  - {groups: [everyone], tier: quarantine, resources: [remediation]}
checks:
  firewall-on: {check: firewall, enabled: true, otherwise: quarantine, fix: {linux: sudo ufw enable}}
  antivirus-on: {check: antivirus, running: true, otherwise: limited}
  patched: {check: patches, security_pending: 0, otherwise: limited, grace: 10m}
  supported: {check: agent-version, minimum: "0.1", otherwise: denied}
  fresh: {check: report-age, max_age: 45s, otherwise: limited}
session: {lease: 60s, max_duration: 12h, idle: 30m, reauthenticate: 12h}
"""
HEALTHY: dict[str, Any] = {
    "os.family": "linux",
    "agent.version": "0.1.0",
    "firewall.enabled": True,
    "antivirus.running": True,
    "patches.security_pending": 0,
}
WIKI, PAYROLL, REMEDIATION = "10.20.0.10/32 tcp/443", "10.20.5.0/24 tcp/443", "10.20.9.0/28 tcp/80"
FULL, LIMITED, QUARANTINE = {WIKI, PAYROLL, REMEDIATION}, {WIKI, REMEDIATION}, {REMEDIATION}


class TurnedClock(Clock):
    """Stands still unless somebody turns it."""

    def __init__(self) -> None:
        self.time = START
        self.moved = False

    def now(self) -> datetime:
        return self.time

    def right(self) -> bool:
        return not self.moved


class World:
    """One gateway and everything around it. Time passes for gateway and tunnel alike."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = POLICY,
        networks: tuple[str, ...] = ("100.96.0.0/24", "fd53::/64"),
        instances: int = 1,
    ):
        self.engine: Engine = open_engine(f"sqlite:///{folder}/sallyport.db")
        upgrade(self.engine)
        self.clock = TurnedClock()
        self.tunnels = [SimulatedTunnel(folder / f"sp{number}.sock") for number in range(instances)]
        self.tunnel = self.tunnels[0]
        self.entropy = random.Random(1).randbytes
        pool: tuple[Network, ...] = tuple(ip_network(n) for n in networks)
        private = X25519PrivateKey.from_private_bytes(bytes([8] * 31 + [72]))
        self.end = TunnelEnd(private.private_bytes_raw(), 51820, "192.0.2.1:51820", Pool(pool, instances), 1420)
        self.issuer = ISSUER
        self.provider = RelyingParty(
            issuer=ISSUER,
            client_id="sallyport",
            client_secret=None,
            redirect_uri=f"{ORIGIN}/callback",
            groups_claim="groups",
            http=Egress(allow_loopback=True),
        )
        self.management = Management("sallyport-admins", "sallyport-operators", "sallyport-auditors")
        self.admission = Admission()
        self.deployment = self.deploy(loads(policy, "corporate.yaml"))
        self.browser = self.new_browser()

    def use_provider(self, provider: Provider, **client: Any) -> None:
        """Have the gateway ask this provider from now on, and know nothing of it yet."""
        self.issuer = provider.issuer
        self.provider = LoginDesk(provider, **client).party
        providers = Providers.of(self.provider)
        self.deployment = replace(self.deployment, providers=providers, provider_check=ProviderCheck(providers))
        self.browser = self.new_browser()

    def deploy(self, policy: Policy) -> Deployment:
        """Put a gateway together on the same database and tunnel, as after a restart."""
        return Deployment(
            public_url=ORIGIN,
            management=self.management,
            engine=self.engine,
            policy=policy,
            providers=Providers.of(self.provider),
            provider_check=ProviderCheck(Providers.of(self.provider)),
            enforcement=Enforcement(
                self.engine, [self._follower(tunnel, at) for at, tunnel in enumerate(self.tunnels)], self.end.pool
            ),
            tunnel_end=self.end,
            cookie_key=bytes(32),
            mint=Mint(bytes(32), ORIGIN),
            clock=self.clock,
            entropy=self.entropy,
            admission=self.admission,
        )

    def _follower(self, tunnel: SimulatedTunnel, instance: int) -> Follower:
        return Follower(UapiTunnel(tunnel.path), self.end.private_key, self.end.listen_port + instance)

    def restart(self, policy: str = POLICY) -> None:
        """A new `serve` process, maybe with another policy."""
        self.deployment = self.deploy(loads(policy, "corporate.yaml"))
        self.browser = self.new_browser()
        self.tick()

    def new_browser(self) -> TestClient:
        app = make_app(self.deployment, work=False)
        return TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)

    def close(self) -> None:
        for tunnel in self.tunnels:
            tunnel.stop()
        self.engine.dispose()

    def tick(self) -> float:
        return background.tick(self.deployment, now=self.clock.time)

    def passes(self, seconds: float) -> None:
        """Let time pass for everybody, and the background work happen at the end of it."""
        self.clock.time += timedelta(seconds=seconds)
        for tunnel in self.tunnels:
            tunnel.now += seconds
            tunnel.interface.handle_deadline(now=tunnel.now)
        with contextlib.suppress(TunnelError):
            self.tick()

    def audit(self) -> list[str]:
        with reading(self.engine) as db:
            return [row.event for row in db.exec(select(tables.Audit).order_by(tables.Audit.sequence))]  # type: ignore[arg-type]

    def log_in(
        self, user: str = "alice", groups: tuple[str, ...] = ("finance",), sid: str | None = None
    ) -> VerifiedLogin:
        """What the provider says about a user who has just logged in."""
        return VerifiedLogin(
            issuer=self.issuer,
            subject=f"sub-{user}",
            user=user,
            groups=groups,
            authenticated_at=self.clock.time,
            issued_at=self.clock.time,
            sid=sid,
            purpose="enrolment",
        )

    def device(self, name: str = "laptop", **login: Any) -> Device:
        """An enrolled device."""
        device = Device(self, name)
        device.enrol(self.log_in(**login))
        return device


class Device:
    """An agent's half of the conversation, with a real device key and a real WireGuard key."""

    def __init__(self, world: World, name: str = "laptop") -> None:
        self.world = world
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        self.device_key = DeviceKey.from_jwk({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        self.id = self.device_key.thumbprint
        self.session = ""
        self.nonce = ""
        self.sequence = 0
        self.ticks = 0
        self.access_token = ""
        self.refresh_token = ""
        self.new_tunnel_key()

    def new_tunnel_key(self) -> None:
        private = X25519PrivateKey.generate()
        public: X25519PublicKey = private.public_key()
        self.public_key = public.public_bytes_raw()

    def now(self) -> float:
        """The device's clock, which goes on even while the world's stands: no two things are signed at one instant."""
        self.ticks += 1
        return self.world.clock.time.timestamp() + self.ticks / 1000 % 1

    def sign(self, typ: str, claims: dict[str, Any], **header: Any) -> str:
        says = {"iat": self.now(), "jti": urlsafe_b64encode(random.randbytes(18)).decode()}
        named = {"jwk": dict(self.device_key.jwk)} if typ in wire.OWN_KEY else {"kid": self.id}
        return jwt.encode({**says, **claims}, self.key, "ES256", headers={"typ": typ, **named, **header})

    def post(self, path: str, body: str | bytes) -> httpx2.Response:
        return self.world.browser.post(path, content=body, headers={"content-type": wire.JOSE})

    def ask_enrolment(self, **claims: Any) -> httpx2.Response:
        said = {
            "name": self.name,
            "platform": "linux",
            "agent_version": "0.1.0",
            "redirect_uri": "http://127.0.0.1:4711/",
        }
        return self.post("/v1/enrolments", self.sign(wire.TYP_ENROLMENT, {**said, **claims}))

    def enrol(self, login: VerifiedLogin) -> httpx2.Response:
        """Enrol with what the provider says; the browser's part is tests/unit/web/test_login.py."""
        name = self.ask_enrolment().json()["enrolment"]
        with writing(self.world.engine) as db:
            url = enrolment.bind(db, name, login, now=self.world.clock.time, entropy=self.world.entropy)
        return self.confirm(name, parse_qs(urlsplit(url).query)["code"][0])

    def log_in_at(self, provider: Provider, user: str = "alice") -> httpx2.Response:
        """Enrol, or log in again, all the way through a browser at the provider. Gives the gateway's last answer."""
        name = self.ask_enrolment().json()["enrolment"]
        answer = self.come_back(self.leave_for(provider, name, user))
        if answer.status_code != 303:
            return answer
        return self.confirm(name, parse_qs(urlsplit(answer.headers["location"]).query)["code"][0])

    def leave_for(self, provider: Provider, name: str, user: str = "alice") -> dict[str, str]:
        """The browser's way out, and what it brings back."""
        sent = self.world.browser.get(f"/login/{name}")
        assert sent.status_code == 303, sent.text
        return provider.authorize(sent.headers["location"], user)

    def come_back(self, query: dict[str, str]) -> httpx2.Response:
        return self.world.browser.get("/callback", params=query)

    def confirm(self, name: str, code: str) -> httpx2.Response:
        return self.post(f"/v1/enrolments/{name}/confirm", self.sign(wire.TYP_CONFIRM, {"code": code}))

    def begin(self) -> httpx2.Response:
        """Open a session and remember it."""
        answer = self.post("/v1/sessions", self.sign(wire.TYP_SESSION, {"nonce": self.nonce}))
        if answer.status_code == 201:
            self.session, self.nonce, self.sequence = answer.json()["session"], answer.json()["nonce"], 0
        return answer

    def report_body(self, differences: dict[str, Any] | None = None, **claims: Any) -> str:
        at = self.now()
        given = {name: Fact(value, "test", at) for name, value in {**HEALTHY, **(differences or {})}.items()}
        report = wire.PostureReport(self.session, self.sequence + 1, self.nonce, at, given)
        says = {**report.to_json(), **claims}
        return jwt.encode(says, self.key, "ES256", headers={"typ": wire.TYP_REPORT, "kid": self.id})

    def report(self, differences: dict[str, Any] | None = None, **claims: Any) -> httpx2.Response:
        """Report HEALTHY with these differences."""
        answer = self.post(f"/v1/sessions/{self.session}/reports", self.report_body(differences, **claims))
        if answer.status_code == 200:
            self.nonce, self.sequence = answer.json()["nonce"], answer.json()["sequence"]
        elif "nonce" in answer.json():  # denied, and in turn
            self.nonce = answer.json()["nonce"]
        return answer

    def ask_credential(self, public_key: Any = None) -> httpx2.Response:
        key = b64encode(self.public_key).decode() if public_key is None else public_key
        path = f"/v1/sessions/{self.session}/credential"
        return self.world.browser.post(path, json={"public_key": key}, headers=self.authorization("POST", path))

    def proof(self, method: str, path: str, *, token: str | None = None, **claims: Any) -> str:
        """A DPoP proof as an honest agent makes it, with these claims changed."""
        nonce = self.world.deployment.mint.nonces(now=self.world.clock.time)[0]
        said = {"htm": method, "htu": f"{ORIGIN}{path}", "nonce": nonce, **({"ath": ath(token)} if token else {})}
        return self.sign(wire.TYP_DPOP, {**said, **claims})

    def ask_tokens(self, form: dict[str, str] | None = None, **claims: Any) -> httpx2.Response:
        """Ask for tokens by an assertion, or with another form."""
        asked = form or {"grant_type": wire.GRANT_ASSERTION, "assertion": self.sign(wire.TYP_ASSERTION, {})}
        answer = self.world.browser.post(
            "/v1/token", data=asked, headers={"dpop": self.proof("POST", "/v1/token", **claims)}
        )
        if answer.status_code == 200:
            self.access_token, self.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]
        return answer

    def refresh(self, token: str | None = None) -> httpx2.Response:
        given = self.refresh_token if token is None else token
        return self.ask_tokens({"grant_type": "refresh_token", "refresh_token": given})

    def authorization(self, method: str, path: str, **claims: Any) -> dict[str, str]:
        """The headers of a request with a token of this moment; a device that gets none shows a forged one."""
        mint, now = self.world.deployment.mint, self.world.clock.time
        token = mint.access_token(self.id, now=now, entropy=random.randbytes)
        return {"authorization": f"DPoP {token}", "dpop": self.proof(method, path, token=token, **claims)}

    def leave(self) -> httpx2.Response:
        path = f"/v1/sessions/{self.session}"
        return self.world.browser.delete(path, headers=self.authorization("DELETE", path))

    def connect(self, facts: dict[str, Any] | None = None) -> Device:
        """Session, report, credential: the way in."""
        assert self.begin().status_code == 201
        assert self.report(facts).status_code == 200
        answer = self.ask_credential()
        assert answer.status_code == 200, answer.text
        return self

    @property
    def reach(self) -> set[str] | None:
        """What the tunnel lets this device reach; None when it does not know it."""
        return self.world.tunnel.permits(self.public_key)
