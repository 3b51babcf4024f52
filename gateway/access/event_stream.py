"""Our stream of security events: made once, remembered, verified, and every token of it taken exactly once.

One `Receiver` for a gateway. The network is asked outside of any transaction; a token's effect is committed before it is
acknowledged, so that an event that we lost is delivered again.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from gateway.access import audit, security_events
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, new_secret
from gateway.access.security_events import GroupsAt
from gateway.errors import Malformed, NotFound, Unauthenticated
from gateway.identity.security_event import Kind, SecurityEvent
from gateway.identity.transmitter import POLL, PUSH, STATUSES, Stream, Transmitter, error_of
from gateway.policy.policy import Policy
from gateway.policy.stage import InForce
from gateway.store import tables
from gateway.store.engine import reading, writing

LOOK_EVERY = timedelta(minutes=1)

log = structlog.get_logger()

Follow = Callable[[list[str]], object]
"""Makes tunnel and event streams follow what was committed."""


@dataclass(slots=True)
class Receiver:
    """The receiving end at one transmitter. `push_secret` is what a push must show; `delivery` is `push` or `poll`,
    `groups` says by issuer where its groups stand; of another issuer nobody gets any."""

    engine: Engine
    transmitter: Transmitter
    delivery: str
    push_url: str
    push_secret: str
    groups: Callable[[str], GroupsAt | None]
    entropy: Entropy
    _looked_at: datetime | None = None
    _acknowledged: list[str] = field(default_factory=list)
    _refused: dict[str, dict[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look_after(self, *, now: datetime) -> None:
        """Make sure once in a minute that the transmitter still has our stream. Raises ProviderError."""
        if self._looked_at is None or not timedelta() <= now - self._looked_at < LOOK_EVERY:
            self.ensure(now=now)
            self._looked_at = now

    def ensure(self, *, now: datetime) -> tables.Stream:
        """Give our stream; make it, and ask for its verification, when there is none. Raises ProviderError."""
        with self._lock:
            kept = self._kept()
            if kept is not None and self.transmitter.read(kept.stream, now=now) is not None:
                return kept
            wanted = {
                "method": PUSH,
                "endpoint_url": self.push_url,
                "authorization_header": f"Bearer {self.push_secret}",
            }
            made = self.transmitter.create(wanted if self.delivery == "push" else {"method": POLL}, now=now)
            row = self._keep(made, now=now)
        log.info("security event stream made", stream=made.name, delivery=made.delivery, events=len(made.delivered))
        self.ask_verification(now=now)
        return row

    def ask_verification(self, *, now: datetime) -> None:
        """Have an event sent through the stream that only we can expect."""
        state = new_secret(self.entropy)
        self._note(verifying=state, asked_at=now)
        self.transmitter.ask_verification(self.stream().stream, state, now=now)

    def set_status(self, status: str, *, now: datetime) -> str:
        """Pause, disable or enable delivery. Raises Malformed, NotFound, ProviderError."""
        if status not in STATUSES:
            raise Malformed("stream-status", f"status must be one of {', '.join(STATUSES)}")
        told = self.transmitter.set_status(self.stream().stream, status, now=now)
        self._note(status=told)
        return told

    def delete(self, *, now: datetime) -> None:
        """Have no stream any longer: there and here. The next start makes another one."""
        row = self.stream()
        self.transmitter.delete(row.stream, now=now)
        with writing(self.engine) as db:
            db.delete(db.merge(row))

    def check_push(self, authorization: str | None) -> None:
        """Raise Unauthenticated unless a push shows what the transmitter was told to show."""
        wanted = f"Bearer {self.push_secret}"
        if authorization is None or not hmac.compare_digest(authorization.encode(), wanted.encode()):
            raise Unauthenticated("push-authorization", "the push does not show what its stream was made with")

    def take(self, token: object, policy: Policy | InForce, follow: Follow, *, now: datetime) -> None:
        """Verify a token and do what it says. When this returns, it is durable. Raises Malformed, ProviderError, Unavailable."""
        try:
            event = self.transmitter.verified(token, self.stream().audience, now=now)
            self._stream_event(event, now=now)
        except Malformed as refused:
            with writing(self.engine) as db:
                audit.record(
                    db, Event.SECURITY_EVENT_REFUSED, now=now, actor=self.transmitter.issuer, code=refused.code
                )
            raise
        with writing(self.engine) as db:
            changed = security_events.accept(db, policy, event, groups=self.groups, now=now)
        if changed:
            follow(changed)

    def poll(self, policy: Policy | InForce, follow: Follow, *, now: datetime) -> bool:
        """Take what waits, and acknowledge what the last poll brought. Says whether there is more. Raises ProviderError."""
        taken, refused = list(self._acknowledged), dict(self._refused)
        found = self.transmitter.poll(self.stream().endpoint, taken, refused)
        self._acknowledged = [jti for jti in self._acknowledged if jti not in taken]
        self._refused = {jti: error for jti, error in self._refused.items() if jti not in refused}
        for jti, token in found.tokens.items():
            try:
                self.take(token, policy, follow, now=now)
                self._acknowledged.append(jti)
            except Malformed as error:
                self._refused[jti] = error_of(error)
        return found.more or bool(found.tokens)

    def stream(self) -> tables.Stream:
        """Give our stream as it is remembered. Raises NotFound."""
        kept = self._kept()
        if kept is None:
            raise NotFound("stream-unknown", "there is no stream of security events yet")
        return kept

    def _stream_event(self, event: SecurityEvent, *, now: datetime) -> None:
        """What the stream says of itself: it works, or somebody has paused it (SSF 1.0 sections 8.1.4, 8.1.5)."""
        if event.kind is Kind.STREAM_UPDATED:
            status = event.members.get("status")
            if status not in STATUSES:
                raise Malformed("set-events", f"status must be one of {', '.join(STATUSES)}")
            log.warning("security event stream changed", status=status)
            self._note(status=str(status))
        elif event.kind is Kind.VERIFICATION:
            state = event.members.get("state")
            if state is not None and state != self.stream().verifying:
                raise Malformed("set-state", "the state is not the one that was asked for")
            self._note(verified_at=now, **({} if state is None else {"verifying": None}))

    def _kept(self) -> tables.Stream | None:
        with reading(self.engine) as db:
            return db.get(tables.Stream, self.transmitter.issuer)

    def _keep(self, made: Stream, *, now: datetime) -> tables.Stream:
        row = tables.Stream(
            issuer=self.transmitter.issuer,
            stream=made.name,
            audience=made.audience,
            delivery=made.delivery,
            endpoint=made.endpoint,
            created_at=now,
        )
        with writing(self.engine) as db:
            db.merge(row)
            audit.record(db, Event.EVENT_STREAM_MADE, now=now, actor=self.transmitter.issuer, stream=made.name)
        return row

    def _note(self, **members: object) -> None:
        with writing(self.engine) as db:
            row = db.get(tables.Stream, self.transmitter.issuer)
            if row is not None:
                row.sqlmodel_update(members)
