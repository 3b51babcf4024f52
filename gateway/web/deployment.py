"""One running gateway: everything that a request may need, put together by `serve` or by a test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from sqlalchemy import Engine
from starlette.requests import Request

from gateway.access.administrators import Management
from gateway.access.credentials import TunnelEnd
from gateway.access.devices import Admission
from gateway.access.enforcement import Enforcement
from gateway.access.event_stream import Receiver
from gateway.access.identifiers import Entropy
from gateway.access.names import Lookup
from gateway.access.place import Map, Place
from gateway.access.policies import Applied
from gateway.access.sightings import Sightings
from gateway.errors import TunnelError
from gateway.identity import sealing
from gateway.identity.providers import Providers
from gateway.identity.tokens import Mint
from gateway.policy.policy import Policy
from gateway.policy.stage import Budget, InForce
from gateway.store import tables
from gateway.web.clock import Clock
from gateway.web.guesses import Guesses
from gateway.web.notices import Notices
from gateway.witness import Witness

PROVIDER_TOKEN = b"sallyport provider token 1"

log = structlog.get_logger()


class ProviderCheck:
    """True for good once a provider was reached: later it may fail without any live session noticing."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._reached = False

    def reached(self) -> bool:
        """Say whether a provider has been reached since the start. May ask it, at most every 10 s."""
        self._reached = self._reached or self._providers.reachable()
        return self._reached


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a request may need. `cookie_key` seals the login state, 32 bytes; `history` is how long decisions are kept;
    `receiver` takes security events, where there is a transmitter; `tpm_roots` are the makers of TPMs that are believed, and
    `tpm_pcrs` what a quote is asked for. `policy` is that of the folder; what decides is
    `in_force`. `lookup` asks for the names of the policy, `map` knows in which country an address is. `witness` knows the
    devices too, and its records are worth something for `witness_age`."""

    public_url: str
    management: Management
    engine: Engine
    policy: Policy
    providers: Providers
    provider_check: ProviderCheck
    enforcement: Enforcement
    tunnel_end: TunnelEnd
    cookie_key: bytes
    mint: Mint
    clock: Clock
    entropy: Entropy
    admission: Admission = field(default_factory=Admission)
    tpm_roots: tuple[x509.Certificate, ...] = ()
    tpm_pcrs: tuple[int, ...] = ()
    receiver: Receiver | None = None
    history: timedelta = timedelta(days=90)
    sightings: Sightings = field(default_factory=Sightings)
    witness: Witness | None = None
    witness_age: timedelta = timedelta(hours=24)
    applied: Applied = field(default_factory=lambda: Applied({}, Budget()))
    guesses: Guesses = field(default_factory=Guesses)
    notices: Notices = field(default_factory=Notices)
    lookup: Lookup | None = None
    map: Map = field(default_factory=Map)

    def seal(self, secret: str) -> str:
        """Seal a token of the provider, to be kept in the database."""
        return sealing.seal(secret.encode(), self.cookie_key, PROVIDER_TOKEN, entropy=self.entropy)

    def unseal(self, sealed: str) -> str:
        """Give back what `seal` took. Raises ValueError."""
        return sealing.unseal(sealed, self.cookie_key, PROVIDER_TOKEN).decode()

    @property
    def in_force(self) -> InForce:
        """The policy that was applied last, or that of the folder while none was."""
        return self.applied.current or InForce(self.policy, budget=self.applied.budget)

    def lease_of(self, session: tables.Session) -> timedelta:
        """How long the session's policy lets it be silent."""
        return self.in_force.of(session.device, session.groups).session.lease

    def place_of(self, request: Request) -> Place:
        """Where a request comes from."""
        return self.map.place(request.client.host if request.client else None)

    def follow(self, sessions: Iterable[str], *, now: datetime) -> bool:
        """Make tunnel and event streams follow what was committed. Says whether the tunnel did; it is retried."""
        changed = list(sessions)
        try:
            self.enforcement.follow(changed, now=now)
        except TunnelError as error:
            log.warning("tunnel not reached", sessions=changed, error=str(error))
            return False
        finally:
            self.notices.publish(changed)
        return True
