"""The providers that people may log in at, which of them a person means, and the file that names several.

    [[provider]]
    name = "staff"                                     # in its addresses here: /callback/staff, /backchannel-logout/staff
    label = "Company account"                          # on its button
    issuer = "https://login.example.com"
    client_id = "sallyport"
    client_secret_file = "/etc/sallyport/staff.secret" # or none: a public client, by PKCE alone
    domains = ["example.com"]                          # e-mail addresses that lead here
    groups_claim = "groups"
    groups_prefix = ""                                 # put before each group, so that partners cannot name ours
    profile = "oidc"                                   # or fapi2
    administrators = true                              # whether who comes from here may manage the gateway; false unless said

Each provider has a redirect URI of its own, so that the answer of one is never taken for another's, also from a provider
that does not say `iss` (RFC 9207; RFC 9700 section 4.4).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import Malformed, SettingsError
from gateway.identity.oidc import RelyingParty
from gateway.settings import issuer_url

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
MOST_PROVIDERS = 32
LARGEST_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Registration:
    """One provider as the file says it."""

    name: str
    issuer: str
    label: str
    client_id: str = "sallyport"
    client_secret: str | None = None
    domains: tuple[str, ...] = ()
    groups_claim: str = "groups"
    groups_prefix: str = ""
    profile: str = "oidc"
    administrators: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider, with what its button says and the e-mail domains that lead to it."""

    party: RelyingParty
    label: str = ""
    domains: frozenset[str] = frozenset()
    administrators: bool = True

    @property
    def name(self) -> str:
        """What it is called in our addresses; empty for the only one of the settings."""
        return self.party.name


class Providers:
    """All of them, in the order of their buttons; at least one."""

    def __init__(self, providers: tuple[Provider, ...]) -> None:
        self._providers = providers

    @classmethod
    def of(cls, party: RelyingParty) -> Providers:
        """The one provider of the settings."""
        return cls((Provider(party),))

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers)

    @property
    def only(self) -> Provider | None:
        """The one that everybody means, if there is no choice."""
        return self._providers[0] if len(self._providers) == 1 else None

    def named(self, name: str) -> Provider:
        """Give the provider of this name. Raises Malformed."""
        for provider in self._providers:
            if provider.name == name:
                return provider
        raise Malformed("provider-unknown", "there is no provider of this name here")

    def by_issuer(self, issuer: str | None) -> Provider | None:
        """Give the provider whose issuer this is, letter for letter."""
        return next((provider for provider in self._providers if provider.party.issuer == issuer), None)

    def by_email(self, email: str) -> Provider | None:
        """Give the provider that the domain of an e-mail address leads to."""
        domain = email.rpartition("@")[2].lower()
        return next((provider for provider in self._providers if domain in provider.domains), None)

    def reachable(self) -> bool:
        """Say whether anybody could log in now."""
        return any(provider.party.reachable() for provider in self._providers)

    def published_keys(self) -> list[Mapping[str, str]]:
        """List the public keys that the gateway signs with as a client, each once."""
        keys = {key["kid"]: key for provider in self._providers for key in provider.party.published_keys()}
        return list(keys.values())


def read(path: Path) -> tuple[Registration, ...]:
    """Read the file of providers. Raises SettingsError that names the place and what is allowed."""
    try:
        with path.open("rb") as file:
            data = tomllib.loads(file.read(LARGEST_FILE).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None
    listed = data.pop("provider", None)
    if data or not isinstance(listed, list) or not 0 < len(listed) <= MOST_PROVIDERS:
        raise SettingsError(f"{path}: must be 1 to {MOST_PROVIDERS} tables [[provider]], and nothing else")
    found = tuple(_registration(f"{path}: provider {place}", one) for place, one in enumerate(listed, 1))
    for what, values in (
        ("name", [one.name for one in found]),
        ("issuer", [one.issuer for one in found]),
        ("domain", [domain for one in found for domain in one.domains]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise SettingsError(f"{path}: the {what} {twice[0]} is there twice; allowed is once")
    return found


def _registration(place: str, members: object) -> Registration:
    given: dict[str, Any] = dict(members) if isinstance(members, dict) else {}
    known = {*Registration.__slots__, "client_secret_file"} - {"client_secret"}
    for name in given:
        if name not in known:
            raise SettingsError(f"{place}: {name} is not a key; allowed are {', '.join(sorted(known))}")
    for name in ("name", "issuer", "label"):
        if name not in given:
            raise SettingsError(f"{place}: needs the key {name}")
    secret = given.pop("client_secret_file", None)
    for name, value in given.items():
        given[name] = _checked(f"{place}: {name} = {value!r}", name, value)
    return Registration(**given, client_secret=None if secret is None else _secret(place, secret))


def _checked(place: str, name: str, value: object) -> object:
    if name == "administrators":
        return _must(place, isinstance(value, bool), "true or false", value)
    if name == "domains":
        good = isinstance(value, list) and all(isinstance(one, str) and DOMAIN.fullmatch(one) for one in value)
        _must(place, good, 'a list of domains in small letters, for example ["example.com"]', value)
        return tuple(value) if isinstance(value, list) else ()
    _must(place, isinstance(value, str) and value.isprintable() and (value or name == "groups_prefix"), "a text", value)
    if name == "name":
        _must(place, NAME.fullmatch(str(value)), "small letters, digits and -, at most 31, a letter first", value)
    if name == "profile":
        _must(place, value in ("oidc", "fapi2"), "oidc or fapi2", value)
    if name == "issuer":
        try:
            issuer_url(str(value))
        except ValueError as error:
            raise SettingsError(f"{place}: {error}") from None
    return value


def _must(place: str, holds: object, allowed: str, value: object) -> object:
    if not holds:
        raise SettingsError(f"{place}: must be {allowed}")
    return value


def _secret(place: str, file: object) -> str:
    try:
        text = Path(str(file)).read_text().strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{place}: client_secret_file {file}: {error}") from None
    if not text:
        raise SettingsError(f"{place}: client_secret_file {file}: is empty")
    return text
