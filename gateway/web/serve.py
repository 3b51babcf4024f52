"""Serve: put the gateway together from its settings and run it until it is told to stop."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from cryptography import x509
from sqlalchemy import Engine

from gateway.access import policies
from gateway.access.addresses import Pool
from gateway.access.administrators import Management
from gateway.access.credentials import TunnelEnd
from gateway.access.devices import Admission
from gateway.access.enforcement import Enforcement
from gateway.access.event_stream import Receiver
from gateway.access.follower import Follower
from gateway.access.place import Map
from gateway.access.policies import Applied
from gateway.access.resolver import Resolver
from gateway.access.security_events import GroupsAt
from gateway.access.sightings import Sightings
from gateway.access.tunnel import SOCKETS, UapiTunnel
from gateway.errors import HostError, SettingsError
from gateway.identity.client_key import ClientKey
from gateway.identity.http import Egress
from gateway.identity.oidc import RelyingParty
from gateway.identity.possession import Prover
from gateway.identity.providers import Provider, Providers, Registration, read
from gateway.identity.tokens import Mint
from gateway.identity.transmitter import Transmitter
from gateway.policy.load import load_policy, texts
from gateway.policy.policy import Policy
from gateway.policy.stage import Budget
from gateway.settings import Settings
from gateway.store.engine import open_engine, writing
from gateway.store.migrate import upgrade
from gateway.web import certificate, state
from gateway.web.app import make_app
from gateway.web.clock import Clock
from gateway.web.deployment import Deployment, ProviderCheck
from gateway.witness import Witness
from gateway.witness.fleet import Fleet

DRAIN_SECONDS = 2

log = structlog.get_logger()


def serve(settings: Settings, *, policy_dir: Path, issuer: str, self_signed: bool) -> int:
    """Run the gateway. Returns when SIGTERM or SIGINT ends it.

    Raises GatewayError with what is wrong when it cannot start; nothing is served then.
    """
    policy, files = load_policy(policy_dir), texts(policy_dir)
    clock = Clock()
    with state.locked(settings.state_dir), _bind(settings) as listener:
        tls = _tls(settings, self_signed=self_signed, now=clock.now())
        gateway = assemble(settings, policy=policy, issuer=issuer, clock=clock)
        with writing(gateway.engine) as db:
            policies.keep(db, policy, files, now=clock.now())
            gateway.applied.refresh(db, now=clock.now())
        log.info("policy loaded", policy=policy.name, version=policy.version)
        if policy.countries() and settings.countries_file is None:
            log.warning("no country is known: SALLYPORT_COUNTRIES_FILE is not set, and the policy asks for countries")
        server = _Server(_configuration(gateway, tls), gateway)
        # uvicorn raises the signal again when it has stopped; by then there is nothing left to end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        asyncio.run(server.serve([listener]))
        gateway.engine.dispose()
    return 0


def assemble(settings: Settings, *, policy: Policy, issuer: str, clock: Clock) -> Deployment:
    """Put a gateway together: database, keys, policy, provider, tunnel. Nothing is contacted yet but the database."""
    engine = open_engine(settings.database_url)
    upgrade(engine)
    providers = _providers(settings, issuer)
    end = TunnelEnd(
        private_key=state.clamped(state.kept_key(settings.state_dir / "tunnel.key", os.urandom)),
        listen_port=settings.tunnel_endpoint[1],
        endpoint=_host_port(*settings.tunnel_endpoint),
        pool=Pool(settings.tunnel_addresses, len(settings.tunnel_instances)),
        mtu=settings.tunnel_mtu,
        dns=settings.tunnel_dns,
        domains=settings.tunnel_domains,
    )
    followers = [
        Follower(UapiTunnel(SOCKETS / f"{each.interface}.sock"), end.private_key, each.port)
        for each in settings.tunnel_instances
    ]
    cookie_key = state.kept_key(settings.state_dir / "cookie.key", os.urandom)
    return Deployment(
        public_url=settings.public_url,
        management=_management(settings, policy),
        engine=engine,
        policy=policy,
        providers=providers,
        provider_check=ProviderCheck(providers),
        enforcement=Enforcement(engine, followers, end.pool),
        tunnel_end=end,
        cookie_key=cookie_key,
        mint=Mint(state.kept_key(settings.state_dir / "token.key", os.urandom), settings.public_url),
        clock=clock,
        entropy=os.urandom,
        admission=Admission(frozenset(settings.approve_groups), settings.devices_per_user),
        tpm_roots=_tpm_roots(settings.tpm_roots),
        tpm_pcrs=settings.tpm_pcrs,
        receiver=_receiver(settings, engine, cookie_key),
        history=timedelta(days=settings.history_days),
        sightings=Sightings(settings.update_servers),
        witness=_witness(settings),
        witness_age=timedelta(hours=settings.fleet_max_age_hours),
        lookup=Resolver(*_name_server(settings.dns_server)),
        map=Map(settings.countries_file),
        applied=Applied(
            policies.signers_of(settings.policy_signers),
            Budget(settings.breaker_share, settings.breaker_window, settings.breaker_floor),
        ),
    )


def _witness(settings: Settings) -> Witness | None:
    if settings.fleet_url is None or settings.fleet_token is None:
        return None
    return Fleet(settings.fleet_url, settings.fleet_token, Egress.for_issuer(settings.fleet_url))


def _name_server(server: tuple[str, int] | None) -> tuple[Sequence[str], int]:
    return ([server[0]], server[1]) if server is not None else ((), 53)


def _tpm_roots(file: Path | None) -> tuple[x509.Certificate, ...]:
    if file is None:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise SettingsError(f"SALLYPORT_TPM_ROOTS={file}: must hold certificates in PEM ({error})") from None


def _management(settings: Settings, policy: Policy) -> Management:
    tier = settings.admin_tier
    if tier is not None and tier not in policy.tiers[:-1]:
        allowed = ", ".join(policy.tiers[:-1])
        raise SettingsError(f"SALLYPORT_ADMIN_TIER={tier!r}: must be a tier of a session in the policy: {allowed}")
    return Management(settings.admin_group, settings.operator_group, settings.auditor_group, tier)


def _receiver(settings: Settings, engine: Engine, key: bytes) -> Receiver | None:
    if settings.ssf_issuer is None or settings.ssf_token is None:
        return None
    http = Egress.for_issuer(settings.ssf_issuer)
    return Receiver(
        engine=engine,
        transmitter=Transmitter(settings.ssf_issuer, http, settings.ssf_token),
        delivery=settings.ssf_delivery,
        push_url=f"{settings.public_url}/security-events",
        push_secret=hmac.new(key, f"security events of {settings.ssf_issuer}".encode(), hashlib.sha256).hexdigest(),
        groups=_groups(settings),
        entropy=os.urandom,
    )


def _groups(settings: Settings) -> Callable[[str], GroupsAt | None]:
    if settings.providers_file is None:
        return lambda _issuer: GroupsAt(settings.oidc_groups_claim)
    named = {one.issuer: GroupsAt(one.groups_claim, one.groups_prefix) for one in read(settings.providers_file)}
    return named.get


def _providers(settings: Settings, issuer: str) -> Providers:
    if settings.providers_file is not None:
        return Providers(tuple(_provider(settings, one) for one in read(settings.providers_file)))
    alone = Registration(
        name="",
        issuer=issuer,
        label="",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        groups_claim=settings.oidc_groups_claim,
        profile=settings.oidc_profile,
        administrators=True,
    )
    return Providers((_provider(settings, alone),))


def _provider(settings: Settings, registration: Registration) -> Provider:
    prover = None
    if registration.profile == "fapi2":
        prover = Prover(ClientKey(state.kept_key(settings.state_dir / "client.key", os.urandom)), os.urandom)
    party = RelyingParty(
        issuer=registration.issuer,
        client_id=registration.client_id,
        client_secret=registration.client_secret,
        redirect_uri=f"{settings.public_url}/callback{registration.name and '/'}{registration.name}",
        groups_claim=registration.groups_claim,
        http=Egress.for_issuer(registration.issuer),
        prover=prover,
        name=registration.name,
        groups_prefix=registration.groups_prefix,
    )
    return Provider(party, registration.label, frozenset(registration.domains), registration.administrators)


def _tls(settings: Settings, *, self_signed: bool, now: datetime) -> ssl.SSLContext:
    chain, key = settings.tls_certificate, settings.tls_key
    if chain is None or key is None:
        if not self_signed:
            raise SettingsError("SALLYPORT_TLS_CERTIFICATE and SALLYPORT_TLS_KEY are not set: the gateway speaks https")
        made = certificate.ensure(settings.state_dir, settings.public_url, now=now)
        chain, key = made.chain, made.key
        pin = f"sallyport-agent enrol {settings.public_url} --ca {made.authority}"
        print(f"own certificate authority; pin it with: {pin}", file=sys.stderr, flush=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"SALLYPORT_TLS_CERTIFICATE={chain} with SALLYPORT_TLS_KEY={key}: {error}") from None
    return context


def _bind(settings: Settings) -> socket.socket:
    host, port = settings.listen
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise HostError(f"SALLYPORT_LISTEN={_host_port(host, port)} cannot be used: {error.strerror}") from None


def _configuration(gateway: Deployment, tls: ssl.SSLContext) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(gateway),
        http="httptools",
        ws="none",
        lifespan="on",
        ssl_context_factory=lambda _config, _default: tls,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=2_000,
        timeout_keep_alive=75,  # an agent's heartbeat comes every 20 s: it finds its connection still open
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


class _Server(uvicorn.Server):
    """Says when it listens, and lets the event streams end when it is told to stop."""

    def __init__(self, config: uvicorn.Config, gateway: Deployment) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            print(f"listening on https://{_host_port(*listener.getsockname()[:2])}", file=sys.stderr, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.notices.close()
        super().handle_exit(sig, frame)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
