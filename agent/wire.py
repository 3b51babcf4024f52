"""The contract between agent and gateway: what is said, in which words. Standard library only.

Every body that an agent sends is a compact JWS (RFC 7515), signed ES256 by the device key. Its header is
`{"alg": "ES256", "typ": <one of the TYP_ constants>, "kid": <device id>}`; OWN_KEY carry `jwk` in place of `kid`, because
the gateway does not know the key yet. The device id is the RFC 7638 thumbprint of the public key, so that one key can
never have two names. Everything else that an agent asks carries an access token with a DPoP proof (RFC 9449).

A session's opening and every report present the `nonce` of the gateway's last answer to either of them: a second machine
with the same key cannot know it for long.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 1
"""Raised when an older gateway would misread a report."""

AGENT_VERSION = "0.1.0"

JOSE = "application/jose"
"""Content type of every signed body."""

TYP_ENROLMENT = "sallyport-enrolment+jwt"
TYP_CONFIRM = "sallyport-confirm+jwt"
TYP_SESSION = "sallyport-session+jwt"
TYP_REPORT = "sallyport-report+jwt"
TYP_REDEMPTION = "sallyport-redemption+jwt"
TYP_LOGOUT = "sallyport-logout+jwt"
TYP_ASSERTION = "sallyport-assertion+jwt"
TYP_DPOP = "dpop+jwt"

OWN_KEY = frozenset({TYP_ENROLMENT, TYP_REDEMPTION, TYP_DPOP})

GRANT_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type for a `TYP_ASSERTION` (RFC 7523 section 2.1)."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about the device.

    `value` is JSON (None only when `absent` says why there is none), `source` names where it was read (a path, a
    command), `observed_at` is Unix time in seconds.
    """

    value: Any
    source: str
    observed_at: float
    absent: str | None = None

    def to_json(self) -> dict[str, Any]:
        members = {"value": self.value, "source": self.source, "observed_at": self.observed_at}
        return {**members, "absent": self.absent} if self.absent is not None else members

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Fact:
        """Raise ValueError that names the member when `members` is not a fact."""
        absent = members.get("absent")
        source = members.get("source")
        observed_at = members.get("observed_at")
        if not isinstance(source, str):
            raise ValueError("source must be a string")
        if isinstance(observed_at, bool) or not isinstance(observed_at, int | float):
            raise ValueError("observed_at must be Unix time in seconds")
        if absent is not None and not isinstance(absent, str):
            raise ValueError("absent must be a string that says why there is no value")
        return cls(members.get("value") if absent is None else None, source, float(observed_at), absent)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a TPM states: a TPMS_ATTEST, its signature (r and s), and the values of the PCRs that it is about (SHA-256)."""

    quoted: bytes
    signature: bytes
    pcrs: Mapping[int, bytes]

    def to_json(self) -> dict[str, Any]:
        return {
            "quoted": b64encode(self.quoted).decode(),
            "signature": b64encode(self.signature).decode(),
            "pcrs": {str(number): value.hex() for number, value in sorted(self.pcrs.items())},
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Quote:
        """Raise ValueError when `members` is not a quote."""
        try:
            quoted, signature = (b64decode(members[name], validate=True) for name in ("quoted", "signature"))
            pcrs = {int(number): bytes.fromhex(value) for number, value in members["pcrs"].items()}
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ValueError("quote must have quoted, signature and pcrs") from None
        if not all(0 <= number < 24 and len(value) == 32 for number, value in pcrs.items()):
            raise ValueError("pcrs must be numbers from 0 to 23 with 32 bytes in hex")
        return cls(quoted, signature, pcrs)


@dataclass(frozen=True, slots=True)
class PostureReport:
    """The facts of a device with what makes them fresh. Claims of a `TYP_REPORT` JWS.

    `sequence` starts at 1 and grows by one per accepted report of a session; `nonce` is the gateway's last answer;
    `issued_at` is Unix time in seconds. A heartbeat names the facts of the session's last report by `unchanged`, their
    `digest`, in place of sending them again; a gateway that does not hold them asks for the whole (`facts-unknown`).
    """

    session: str
    sequence: int
    nonce: str
    issued_at: float
    facts: Mapping[str, Fact] = field(default_factory=dict)
    unchanged: str | None = None
    quote: Quote | None = None

    @property
    def question(self) -> bytes:
        """What a TPM is asked for this report; its SHA-256 is the quote's nonce."""
        return f"{self.session}.{self.sequence}.{self.nonce}".encode()

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "v": VERSION,
            "session": self.session,
            "seq": self.sequence,
            "nonce": self.nonce,
            "iat": self.issued_at,
        }
        if self.quote is not None:
            said["quote"] = self.quote.to_json()
        if self.unchanged is not None:
            return {**said, "unchanged": self.unchanged}
        return {**said, "facts": told(self.facts)}


def told(facts: Mapping[str, Fact]) -> dict[str, Any]:
    """Facts as they are sent."""
    return {name: fact.to_json() for name, fact in sorted(facts.items())}


def digest(facts: Mapping[str, Any]) -> str:
    """The SHA-256 of facts as they were sent: hexadecimal, over JSON without white space and in order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What `sallyport-agent enrol` keeps: which gateway, which device, whose."""

    gateway: str
    device: str
    user: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """The tunnel half of a credential: the agent's end of WireGuard.

    `addresses` are CIDR strings of our end, `endpoint` is `host:port`, `routes` are the CIDRs to send into the tunnel
    (also the peer's allowed IPs), `keepalive` is in seconds. `dns` are the name servers behind the tunnel, each inside a
    route; `domains` are the names to ask them for, `.` for all. Gateways before these two do not send them.
    """

    public_key: str
    endpoint: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    mtu: int
    keepalive: int
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        lists = ("addresses", "routes", "dns", "domains")
        return {name: list(value) if name in lists else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> TunnelConfig:
        """Raise KeyError, TypeError or ValueError when a member is missing or of the wrong kind."""
        return cls(
            public_key=str(members["public_key"]),
            endpoint=str(members["endpoint"]),
            addresses=tuple(str(a) for a in members["addresses"]),
            routes=tuple(str(r) for r in members["routes"]),
            mtu=int(members["mtu"]),
            keepalive=int(members["keepalive"]),
            dns=tuple(str(server) for server in members.get("dns", ())),
            domains=tuple(str(domain) for domain in members.get("domains", ())),
        )
