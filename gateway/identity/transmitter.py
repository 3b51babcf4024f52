"""A transmitter of security events (OpenID SSF 1.0): its metadata and keys, our stream at it, and what the stream brings.

What it says of itself is believed as far as that of a provider is: exact issuer, https, no redirects, no private addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx2

from gateway.errors import Malformed, ProviderError
from gateway.identity import security_event
from gateway.identity.claim_rules import LONGEST_TEXT, Expected
from gateway.identity.discovery import Discovery, endpoint, optional_endpoint, texts
from gateway.identity.http import Bearer, Egress, json_object
from gateway.identity.jwks import ALLOWED, KeySet
from gateway.identity.kinds import SECURITY_EVENT
from gateway.identity.security_event import SecurityEvent
from gateway.identity.verify import verify

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
STATUSES = ("enabled", "paused", "disabled")
MOST_EVENTS = 100
"""At a time, by poll."""


@dataclass(frozen=True, slots=True)
class TransmitterMetadata:
    """What a receiver uses of `/.well-known/ssf-configuration` (SSF 1.0 section 7.1), checked."""

    issuer: str
    jwks_uri: str
    configuration_endpoint: str
    status_endpoint: str | None
    verification_endpoint: str | None
    deliveries: frozenset[str]
    critical_members: frozenset[str]

    @classmethod
    def read(cls, members: Mapping[str, Any], issuer: str) -> TransmitterMetadata:
        """Check the document. Raises ProviderError that names the member."""
        if members.get("issuer") != issuer:
            raise ProviderError(
                f"the transmitter calls itself {str(members.get('issuer'))[:200]!r}, configured is {issuer!r}; "
                "SALLYPORT_SSF_ISSUER must be the same letter for letter"
            )
        return cls(
            issuer=issuer,
            jwks_uri=endpoint(members, "jwks_uri", issuer),
            configuration_endpoint=endpoint(members, "configuration_endpoint", issuer),
            status_endpoint=optional_endpoint(members, "status_endpoint", issuer),
            verification_endpoint=optional_endpoint(members, "verification_endpoint", issuer),
            deliveries=texts(members, "delivery_methods_supported", PUSH),
            critical_members=texts(members, "critical_subject_members", "user"),
        )


@dataclass(frozen=True, slots=True)
class Stream:
    """Our stream as the transmitter has it. `endpoint` is where it pushes to, or where we poll."""

    name: str
    audience: str
    delivery: str
    endpoint: str
    delivered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: tokens by their `jti`, and whether there are more already."""

    tokens: Mapping[str, str]
    more: bool


class Transmitter:
    """One transmitter, asked with a token that its operator gave us. Safe to use from several threads."""

    def __init__(self, issuer: str, http: Egress, token: str) -> None:
        self.issuer = issuer
        self._http = http
        self._auth = Bearer(token)
        self._discovery = Discovery(issuer, http, url=_well_known(issuer), read=TransmitterMetadata.read)
        self._keys: KeySet | None = None

    def verified(self, token: object, audience: str, *, now: datetime) -> SecurityEvent:
        """Verify a token and read its event. Raises Malformed `set-…`, or ProviderError when that cannot be told now."""
        metadata = self._discovery.metadata(now=now)
        keys = self._key_set(metadata.jwks_uri)
        expected = Expected(metadata.issuer, audience, ALLOWED)
        found = verify(SECURITY_EVENT, token, expected, lambda kid, alg: keys.find(kid, alg, now=now), now=now)
        return security_event.read(found, critical=metadata.critical_members)

    # the stream (SSF 1.0 section 8.1)

    def create(self, delivery: Mapping[str, str], *, now: datetime) -> Stream:
        """Make a stream for every event that we act on. Raises ProviderError, also for a delivery that it does not have."""
        metadata = self._discovery.metadata(now=now)
        if delivery["method"] not in metadata.deliveries:
            has = ", ".join(sorted(metadata.deliveries))
            raise ProviderError(f"the transmitter does not deliver by {delivery['method']}; it has {has}")
        asked = {
            "events_requested": list(security_event.WANTED),
            "delivery": dict(delivery),
            "description": "Sallyport: live sessions follow",
        }
        answer = self._ask("POST", metadata.configuration_endpoint, asked, 201)
        return _stream(json_object(answer), metadata.issuer)

    def read(self, name: str, *, now: datetime) -> Stream | None:
        """Give the stream as it stands; None when the transmitter has none of that name."""
        metadata = self._discovery.metadata(now=now)
        answer = self._ask("GET", _named(metadata.configuration_endpoint, name), None, 200, 404)
        return None if answer.status_code == 404 else _stream(json_object(answer), metadata.issuer)

    def delete(self, name: str, *, now: datetime) -> None:
        """Have the stream no longer; one that is gone already is no error."""
        metadata = self._discovery.metadata(now=now)
        self._ask("DELETE", _named(metadata.configuration_endpoint, name), None, 204, 404)

    def status(self, name: str, *, now: datetime) -> str:
        """Ask whether events are delivered: enabled, paused or disabled."""
        url = self._needed("status_endpoint", now=now)
        return _status(json_object(self._ask("GET", _named(url, name), None, 200)))

    def set_status(self, name: str, status: str, *, now: datetime) -> str:
        """Pause, disable or enable the stream. Gives what the transmitter says that it is now."""
        url = self._needed("status_endpoint", now=now)
        return _status(json_object(self._ask("POST", url, {"stream_id": name, "status": status}, 200)))

    def ask_verification(self, name: str, state: str, *, now: datetime) -> None:
        """Have the transmitter send an event with this state through the stream."""
        url = self._needed("verification_endpoint", now=now)
        self._ask("POST", url, {"stream_id": name, "state": state}, 204)

    def poll(self, url: str, taken: Sequence[str], refused: Mapping[str, Mapping[str, str]]) -> Polled:
        """Acknowledge what came before, and take what waits (RFC 8936 section 2.4)."""
        asked = {"maxEvents": MOST_EVENTS, "returnImmediately": True, "ack": list(taken)}
        asked |= {"setErrs": dict(refused)} if refused else {}
        answer = json_object(self._ask("POST", url, asked, 200))
        sets = answer.get("sets", {})
        if not isinstance(sets, dict) or not all(isinstance(token, str) for token in sets.values()):
            raise ProviderError(f"{url}: the answer must have sets, an object of tokens")
        return Polled(dict(list(sets.items())[:MOST_EVENTS]), answer.get("moreAvailable") is True)

    def _ask(self, method: str, url: str, members: Mapping[str, Any] | None, *statuses: int) -> httpx2.Response:
        answer = self._http.send(method, url, members, auth=self._auth)
        if answer.status_code not in statuses:
            raise ProviderError(f"{url}: answered {answer.status_code} to {method}")
        return answer

    def _needed(self, name: str, *, now: datetime) -> str:
        url = getattr(self._discovery.metadata(now=now), name)
        if url is None:
            raise ProviderError(f"the transmitter's metadata has no {name}")
        return str(url)

    def _key_set(self, url: str) -> KeySet:
        if self._keys is None or self._keys.url != url:
            self._keys = KeySet(url, self._http)
        return self._keys


def _well_known(issuer: str) -> str:
    """RFC 8615 as SSF 1.0 section 7.2 says: before the issuer's path, not behind it."""
    parts = urlsplit(issuer)
    return urlunsplit((*parts[:2], f"/.well-known/ssf-configuration{parts.path.rstrip('/')}", "", ""))


def _named(url: str, name: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode({'stream_id': name})}"


def _status(members: Mapping[str, Any]) -> str:
    status = members.get("status")
    if status not in STATUSES:
        raise ProviderError(f"the stream's status must be one of {', '.join(STATUSES)}")
    return str(status)


def _stream(members: Mapping[str, Any], issuer: str) -> Stream:
    """Check a stream's configuration (section 8.1.1): it is the configured transmitter's, and for one audience."""
    audience = members.get("aud")
    audience = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
    delivery = members.get("delivery")
    where = delivery if isinstance(delivery, dict) else {}
    delivered = members.get("events_delivered", members.get("events_requested", []))
    name, method, url = members.get("stream_id"), where.get("method"), where.get("endpoint_url")
    if not all(isinstance(said, str) and 0 < len(said) <= LONGEST_TEXT * 8 for said in (name, audience, method, url)):
        raise ProviderError("the stream must have stream_id, one aud, and a delivery with method and endpoint_url")
    if members.get("iss") != issuer:
        raise ProviderError("the stream's iss must be the transmitter's issuer, letter for letter")
    names = tuple(str(name) for name in delivered) if isinstance(delivered, list) else ()
    return Stream(str(name), str(audience), str(method), str(url), names)


def error_of(refused: Malformed | ProviderError) -> dict[str, str]:
    """Say to the transmitter why a token was refused (RFC 8935 section 2.4, RFC 8936 section 2.6)."""
    code = refused.code if isinstance(refused, Malformed) else ""
    err = {"set-issuer": "invalid_issuer", "set-audience": "invalid_audience", "set-state": "invalid_state"}.get(code)
    unknown_key = code in ("set-key", "set-signature")
    return {"err": err or ("invalid_key" if unknown_key else "invalid_request"), "description": str(refused)[:300]}
