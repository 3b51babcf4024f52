"""A transmitter of security events inside the test (OpenID SSF 1.0): one stream, push and poll. Honest until told to lie."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import httpx2
from sqlalchemy import Engine

from gateway.access.event_stream import Receiver
from gateway.access.security_events import GroupsAt
from gateway.identity.http import Egress
from gateway.identity.transmitter import Transmitter
from tests.sim.provider import ADDRESS, START, Draft, Signer

ISSUER = "https://events.example/tenant"
AUDIENCE = "https://events.example/receivers/sallyport"
TOKEN = "the token that the operator gave us"
CONFIGURATION, KEYS = "/.well-known/ssf-configuration/tenant", "/tenant/keys"
STREAM, STATUS, VERIFY, POLL = "/ssf/streams", "/ssf/status", "/ssf/verify", "/ssf/poll/1"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
PUSH_SECRET = "what a push must show"


@dataclass(slots=True)
class SimulatedTransmitter(httpx2.BaseTransport):
    """`metadata` are lies about itself, `answers` replace what a path says. `waiting` are tokens for the next poll."""

    now: datetime = START
    metadata: dict[str, Any] = field(default_factory=dict)
    signer: Signer = field(default_factory=lambda: Signer("events"))
    stream: dict[str, Any] | None = None
    status: str = "enabled"
    states: list[str | None] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    errors: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Callable[[httpx2.Request], httpx2.Response]] = field(default_factory=dict)
    requests: list[httpx2.Request] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def receiver(self, engine: Engine, *, delivery: str = "push") -> Receiver:
        """The gateway's end of the stream."""
        http = Egress(allow_loopback=False, resolve=lambda _host, _port: [ADDRESS], wire=self)
        return Receiver(
            engine=engine,
            transmitter=Transmitter(ISSUER, http, TOKEN),
            delivery=delivery,
            push_url="https://gateway.example/security-events",
            push_secret=PUSH_SECRET,
            groups=lambda issuer: GroupsAt("groups", "partner:" if "partners" in issuer else ""),
            entropy=random.Random(3).randbytes,
        )

    def event(self, name: str, sub_id: dict[str, Any] | None = None, **members: Any) -> Draft:
        """An honest token about one event."""
        at = int(self.now.timestamp())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": at,
            "jti": f"event-{next(self._numbers)}",
            "events": {name: members},
            **({"sub_id": sub_id} if sub_id is not None else {}),
        }
        header = {"alg": self.signer.algorithm, "kid": self.signer.kid, "typ": "secevent+jwt"}
        return Draft(header, claims, self.signer)

    def verification(self, state: str | None) -> Draft:
        """The event that proves the stream."""
        about = {"format": "opaque", "id": (self.stream or {}).get("stream_id", "none")}
        return self.event(f"{SSF}verification", about, **({} if state is None else {"state": state}))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        path = request.url.path
        if path in self.answers:
            return self.answers[path](request)
        if path == CONFIGURATION:
            return httpx2.Response(200, json=self._metadata())
        if path == KEYS:
            return httpx2.Response(200, json={"keys": [self.signer.jwk]})
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return httpx2.Response(401)
        return {STREAM: self._stream, STATUS: self._status, VERIFY: self._verify, POLL: self._poll}[path](request)

    def _metadata(self) -> dict[str, Any]:
        members = {
            "issuer": ISSUER,
            "jwks_uri": f"https://events.example{KEYS}",
            "configuration_endpoint": f"https://events.example{STREAM}",
            "status_endpoint": f"https://events.example{STATUS}",
            "verification_endpoint": f"https://events.example{VERIFY}",
            "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
            "critical_subject_members": ["user", "robot"],
            "spec_version": "1_0",
            **self.metadata,
        }
        return {name: value for name, value in members.items() if value is not None}

    def _ours(self, request: httpx2.Request) -> bool:
        asked = parse_qs(request.url.query.decode()).get("stream_id")
        return self.stream is not None and asked == [self.stream["stream_id"]]

    def _stream(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return self._create(json.loads(request.content))
        if not self._ours(request):
            return httpx2.Response(404)
        if request.method == "DELETE":
            self.stream = None
            return httpx2.Response(204)
        return httpx2.Response(200, json=self.stream)

    def _create(self, asked: dict[str, Any]) -> httpx2.Response:
        if self.stream is not None:
            return httpx2.Response(409)
        delivery = dict(asked["delivery"])
        delivery.setdefault("endpoint_url", f"https://events.example{POLL}")
        self.stream = {
            "stream_id": f"stream-{next(self._numbers)}",
            "iss": ISSUER,
            "aud": AUDIENCE,
            "events_supported": [f"{CAEP}session-revoked", f"{CAEP}credential-change"],
            "events_requested": asked["events_requested"],
            "events_delivered": [f"{CAEP}session-revoked", f"{CAEP}credential-change"],
            "delivery": delivery,
        }
        return httpx2.Response(201, json=self.stream)

    def _status(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            asked = json.loads(request.content)
            assert self.stream is not None
            assert asked["stream_id"] == self.stream["stream_id"]
            self.status = asked["status"]
        elif not self._ours(request):
            return httpx2.Response(404)
        return httpx2.Response(200, json={"stream_id": (self.stream or {})["stream_id"], "status": self.status})

    def _verify(self, request: httpx2.Request) -> httpx2.Response:
        self.states.append(json.loads(request.content).get("state"))
        return httpx2.Response(204)

    def _poll(self, request: httpx2.Request) -> httpx2.Response:
        asked = json.loads(request.content)
        for jti in [*asked.get("ack", []), *asked.get("setErrs", {})]:
            self.waiting.pop(jti, None)
        self.acknowledged += asked.get("ack", [])
        self.errors |= asked.get("setErrs", {})
        given = dict(list(self.waiting.items())[: asked["maxEvents"]])
        return httpx2.Response(200, json={"sets": given, "moreAvailable": len(given) < len(self.waiting)})
