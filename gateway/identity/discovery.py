"""OpenID Connect Discovery 1.0: what the configured provider says of itself, believed as far as the standard allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from gateway.errors import ProviderError
from gateway.identity.http import Egress
from gateway.settings import LOOPBACK

Document = TypeVar("Document")

REFRESH = timedelta(hours=1)
MAXIMUM_AGE = timedelta(hours=24)
"""A provider whose metadata cannot be read for a day is not believed any longer."""

RETRY = timedelta(seconds=10)
"""While the provider is down, strangers' logins cause no more than one request in this time."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The members that a relying party uses (Discovery section 3), checked."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: frozenset[str]
    scopes: frozenset[str]
    token_auth_methods: frozenset[str]
    iss_in_response: bool
    par_endpoint: str | None = None
    dpop_algorithms: frozenset[str] | None = None
    end_session_endpoint: str | None = None

    @classmethod
    def read(cls, members: Mapping[str, Any], issuer: str) -> Metadata:
        """Check a metadata document against the configured issuer. Raises ProviderError that names the member."""
        if members.get("issuer") != issuer:  # Discovery 4.3: letter for letter, or another provider answers for it
            raise ProviderError(
                f"the provider calls itself {_shown(members.get('issuer'))}, configured is {issuer!r}; "
                "SALLYPORT_OIDC_ISSUER must be the same letter for letter"
            )
        return cls(
            issuer=issuer,
            authorization_endpoint=endpoint(members, "authorization_endpoint", issuer),
            token_endpoint=endpoint(members, "token_endpoint", issuer),
            jwks_uri=endpoint(members, "jwks_uri", issuer),
            userinfo_endpoint=optional_endpoint(members, "userinfo_endpoint", issuer),
            algorithms=texts(members, "id_token_signing_alg_values_supported", "RS256"),
            scopes=texts(members, "scopes_supported", "openid"),
            token_auth_methods=texts(members, "token_endpoint_auth_methods_supported", "client_secret_basic"),
            iss_in_response=members.get("authorization_response_iss_parameter_supported") is True,
            par_endpoint=optional_endpoint(members, "pushed_authorization_request_endpoint", issuer),
            dpop_algorithms=texts(members, "dpop_signing_alg_values_supported", "")
            if "dpop_signing_alg_values_supported" in members
            else None,
            end_session_endpoint=optional_endpoint(members, "end_session_endpoint", issuer),
        )


def of_provider(issuer: str, http: Egress) -> Discovery[Metadata]:
    """Find the metadata of an OpenID provider. A slash at the end of the issuer goes before the rest (Discovery 4.1)."""
    return Discovery(
        issuer, http, url=f"{issuer.removesuffix('/')}/.well-known/openid-configuration", read=Metadata.read
    )


class Discovery(Generic[Document]):
    """What an issuer says of itself, fetched at first use, then hourly. A failed refresh keeps it for at most a day."""

    def __init__(
        self, issuer: str, http: Egress, *, url: str, read: Callable[[Mapping[str, Any], str], Document]
    ) -> None:
        """`read` checks the document at `url` against the issuer; it raises ProviderError."""
        self.issuer = issuer
        self._http = http
        self._url = url
        self._read = read
        self._known: Document | None = None
        self._fetched_at: datetime | None = None
        self._failed: tuple[datetime, ProviderError] | None = None
        self._lock = threading.Lock()

    def metadata(self, *, now: datetime) -> Document:
        """Give metadata that may be used now. Raises ProviderError when there is none."""
        with self._lock:
            if self._known is not None and self._younger(REFRESH, now):
                return self._known
            if self._failed is None or not timedelta() <= now - self._failed[0] < RETRY:
                self._fetch(now)
            if self._known is not None and self._younger(MAXIMUM_AGE, now):
                return self._known
            assert self._failed is not None
            raise ProviderError(str(self._failed[1]))

    def _fetch(self, now: datetime) -> None:
        try:
            self._known = self._read(self._http.get_json(self._url).members, self.issuer)
            self._fetched_at, self._failed = now, None
        except ProviderError as error:
            self._failed = (now, error)

    def _younger(self, age: timedelta, now: datetime) -> bool:
        """A clock that went back makes everything old, or it would make everything young."""
        return self._fetched_at is not None and timedelta() <= now - self._fetched_at < age


def optional_endpoint(members: Mapping[str, Any], name: str, issuer: str) -> str | None:
    """Read a URL that may be absent."""
    return endpoint(members, name, issuer) if name in members else None


def endpoint(members: Mapping[str, Any], name: str, issuer: str) -> str:
    """Read a URL that may be asked. Raises ProviderError that names the member."""
    url = members.get(name)
    if not isinstance(url, str) or len(url) > 2048:
        raise ProviderError(f"the provider's metadata has no {name}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ProviderError(f"the provider's {name} is not a URL: {_shown(url)}") from None
    if parts.fragment or parts.username is not None or not parts.hostname:
        raise ProviderError(f"the provider's {name} must have a host, no password and no fragment: {_shown(url)}")
    loopback = urlsplit(issuer).hostname in LOOPBACK and parts.hostname in LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise ProviderError(f"the provider's {name} must be https: {_shown(url)}")
    return url


def texts(members: Mapping[str, Any], name: str, default: str) -> frozenset[str]:
    """Read a list of texts. Raises ProviderError that names the member."""
    values = members.get(name, [default])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ProviderError(f"the provider's {name} must be a list of texts")
    return frozenset(values)


def _shown(value: object) -> str:
    return repr(value)[:200]
