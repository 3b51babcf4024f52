"""The relying party: sends a browser to the provider and turns what comes back into a verified login.

`token_client` speaks OAuth; what it must not decide is decided here and in `verify`. Where a login leads,
and whether this browser began it, is the caller's: the state cookie is opened before `finish`.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity import claims, discovery, fapi2, userinfo
from gateway.identity.claim_rules import CLOCK_SKEW, Expected
from gateway.identity.compact import base64url
from gateway.identity.discovery import Metadata
from gateway.identity.http import Egress
from gateway.identity.jwks import KeySet
from gateway.identity.login_state import NOTHING, Demand, LoginState
from gateway.identity.possession import Prover
from gateway.identity.token_client import TokenClient, printable
from gateway.identity.verify import (
    FindKey,
    VerifiedClaims,
    VerifiedLogout,
    verify_id_token,
    verify_logout_token,
    verify_renewed_id_token,
)

SECRET_SIZE = 32
"""Bytes of state, nonce and verifier: 43 characters, the least that RFC 7636 allows a verifier."""

LONGEST_CODE = 4096
REACHABLE_FOR = 10.0
"""Seconds for which an answer of `reachable` is repeated: a probe must not become a request to the provider each time."""

ANOTHER_LOGIN = "login-state"
"""The code of the refusal that says nothing about this login: the answer was for another one."""

OFFLINE = "offline_access"
"""OIDC Core 11: the scope that asks for a refresh token."""

WANTED_SCOPES = ("profile", "email", "groups")


@dataclass(frozen=True, slots=True)
class LoginBegun:
    """Where to send the browser, and what to remember in it."""

    url: str
    state: LoginState


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    """Who logged in, in the provider's words, for which purpose of ours. Made only in this file.

    `state` is the secret of the attempt; the tokens are to be sealed before they are kept (`identity.sealing`).
    """

    issuer: str
    subject: str
    user: str
    groups: tuple[str, ...]
    authenticated_at: datetime
    issued_at: datetime
    sid: str | None
    purpose: str
    acr: str | None = None
    amr: tuple[str, ...] = ()
    email: str | None = None
    provider: str = ""
    state: str = field(default="", repr=False)
    id_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Renewed:
    """A login that still holds. `groups` None: the provider says nothing of them; `refresh_token` None: the old one stays."""

    groups: tuple[str, ...] | None
    refresh_token: str | None = field(repr=False)


class RelyingParty:
    """One client at one provider. Reads nothing from the network before its first use."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        redirect_uri: str,
        groups_claim: str,
        http: Egress,
        prover: Prover | None = None,
        name: str = "",
        groups_prefix: str = "",
    ) -> None:
        """With a `prover`, the FAPI 2.0 Security Profile is kept and demanded. `groups_prefix` is put before every group, so
        that one provider's groups are never another's."""
        self.name = name
        self._groups_prefix = groups_prefix
        self._client_id = client_id
        self._client = TokenClient(
            client_id=client_id,
            client_secret=client_secret if prover is None else None,
            redirect_uri=redirect_uri,
            http=http,
            prover=prover,
        )
        self._prover = prover
        self._groups_claim = groups_claim
        self._http = http
        self._discovery = discovery.of_provider(issuer, http)
        self._keys: KeySet | None = None
        self._lock = threading.Lock()
        self._reachable = (float("-inf"), False)

    def begin(
        self,
        purpose: str,
        *,
        entropy: Callable[[int], bytes],
        now: datetime,
        hint: str | None = None,
        demand: Demand = NOTHING,
        lasting: bool = False,
    ) -> LoginBegun:
        """Start a login; `hint` tells the provider whose it may be, `lasting` asks for a refresh token.

        Raises ProviderError when the provider cannot be used.
        """
        metadata = self._metadata(now=now)
        secret, nonce, verifier = (base64url(entropy(SECRET_SIZE)) for _ in range(3))
        state = LoginState(purpose, secret, nonce, verifier, now, self.name, demand)
        wanted = (*WANTED_SCOPES, *((OFFLINE,) if lasting else ()))
        scope = " ".join(["openid", *(scope for scope in wanted if scope in metadata.scopes)])
        return LoginBegun(self._client.authorization_url(metadata, scope, state, now=now, hint=hint), state)

    def finish(self, query: Mapping[str, str], state: LoginState, *, now: datetime) -> VerifiedLogin:
        """Turn the parameters of the callback into a login.

        Raises Unauthenticated with a code `login-…` when it does not hold, ProviderError when the provider is at fault.
        """
        metadata = self._metadata(now=now)
        code = _authorization_code(query, state, metadata)
        tokens = self._client.exchange(metadata, code, state, now=now)
        verified = self._verify(metadata, tokens, state, now=now)
        _check_demand(verified, state.demand, now=now)
        refresh_token = tokens.get("refresh_token")
        return VerifiedLogin(
            issuer=verified.issuer,
            subject=verified.subject,
            user=claims.user(verified),
            groups=self._groups(metadata, tokens, verified, now=now),
            authenticated_at=verified.authenticated_at,
            issued_at=verified.issued_at,
            sid=verified.sid,
            purpose=state.purpose,
            acr=verified.acr,
            amr=verified.amr,
            email=claims.email(verified),
            provider=self.name,
            state=state.state,
            id_token=str(tokens["id_token"]),
            refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        )

    def renew(self, refresh_token: str, *, subject: str, now: datetime) -> Renewed:
        """Ask whether a login still holds (OIDC Core 12).

        Raises Unauthenticated when the provider does not stand by it, or answers about somebody else; ProviderError when
        it cannot be told now.
        """
        metadata = self._metadata(now=now)
        tokens = self._client.request(metadata, grant_type="refresh_token", refresh_token=refresh_token, now=now)
        fresh = tokens.get("refresh_token")
        kept = fresh if isinstance(fresh, str) and fresh else None
        if "id_token" not in tokens:  # 12.2: it may be left out
            return Renewed(self._groups_of(metadata, tokens, subject, now=now), kept)
        access_token = tokens.get("access_token")
        expected = Expected(
            metadata.issuer,
            self._client_id,
            metadata.algorithms,
            access_token=access_token if isinstance(access_token, str) and access_token.isascii() else None,
        )
        find_key = self._find_key(metadata, now=now)
        verified = verify_renewed_id_token(tokens["id_token"], expected, find_key, subject=subject, now=now)
        return Renewed(self._groups(metadata, tokens, verified, now=now), kept)

    def end_session_url(self, id_token: str | None, *, redirect_uri: str, state: str, now: datetime) -> str | None:
        """Say where a browser logs out at the provider; None when it has no such place. Raises ProviderError.

        RP-Initiated Logout 1.0 section 2. `id_token` tells the provider who asks, so that it need not ask back.
        """
        there = self._metadata(now=now).end_session_endpoint
        if there is None:
            return None
        asked = {"client_id": self._client_id, "post_logout_redirect_uri": redirect_uri, "state": state}
        asked |= {"id_token_hint": id_token} if id_token else {}
        return f"{there}{'&' if urlsplit(there).query else '?'}{urlencode(asked)}"

    def logout(self, token: object, *, now: datetime) -> VerifiedLogout:
        """Verify a logout token. Raises Malformed `logout-token-…`, or ProviderError when that cannot be told now."""
        metadata = self._metadata(now=now)
        expected = Expected(metadata.issuer, self._client_id, metadata.algorithms)
        return verify_logout_token(token, expected, self._find_key(metadata, now=now), now=now)

    @property
    def issuer(self) -> str:
        """The provider's name, letter for letter."""
        return self._discovery.issuer

    def published_keys(self) -> list[Mapping[str, str]]:
        """List the public keys that this client signs with, as JWKs: none, unless it keeps FAPI 2."""
        return [] if self._prover is None else [self._prover.jwk]

    def reachable(self) -> bool:
        """Say whether a login could begin now."""
        asked_at, answer = self._reachable
        if time.monotonic() - asked_at >= REACHABLE_FOR:
            answer = self._ask()
            self._reachable = (time.monotonic(), answer)
        return answer

    def _metadata(self, *, now: datetime) -> Metadata:
        metadata = self._discovery.metadata(now=now)
        return metadata if self._prover is None else fapi2.narrowed(metadata)

    def _ask(self) -> bool:
        try:
            self._metadata(now=datetime.now(UTC))
        except ProviderError:
            return False
        return True

    def _verify(
        self, metadata: Metadata, tokens: Mapping[str, Any], state: LoginState, *, now: datetime
    ) -> VerifiedClaims:
        access_token = tokens.get("access_token")
        expected = Expected(
            issuer=metadata.issuer,
            audience=self._client_id,
            algorithms=metadata.algorithms,
            nonce=state.nonce,
            access_token=access_token if isinstance(access_token, str) and access_token.isascii() else None,
        )
        return verify_id_token(tokens.get("id_token"), expected, self._find_key(metadata, now=now), now=now)

    def _group_claims(
        self, metadata: Metadata, tokens: Mapping[str, Any], verified: VerifiedClaims, *, now: datetime
    ) -> Mapping[str, Any]:
        """Give the claims to read groups from: the ID token's, or userinfo's where the ID token is silent."""
        if metadata.userinfo_endpoint is None or claims.names_groups(verified.claims, self._groups_claim):
            return verified.claims
        return userinfo.ask(self._http, metadata.userinfo_endpoint, tokens, verified.subject, self._prover, now=now)

    def _groups(
        self, metadata: Metadata, tokens: Mapping[str, Any], verified: VerifiedClaims, *, now: datetime
    ) -> tuple[str, ...]:
        found = claims.groups(self._group_claims(metadata, tokens, verified, now=now), self._groups_claim)
        return tuple(f"{self._groups_prefix}{group}" for group in found)

    def _groups_of(
        self, metadata: Metadata, tokens: Mapping[str, Any], subject: str, *, now: datetime
    ) -> tuple[str, ...] | None:
        """Read the groups at userinfo, of the same user, where there is no ID token to read them from."""
        if metadata.userinfo_endpoint is None:
            return None
        said = userinfo.ask(self._http, metadata.userinfo_endpoint, tokens, subject, self._prover, now=now)
        if not claims.names_groups(said, self._groups_claim):
            return None
        return tuple(f"{self._groups_prefix}{group}" for group in claims.groups(said, self._groups_claim))

    def _find_key(self, metadata: Metadata, *, now: datetime) -> FindKey:
        keys = self._key_set(metadata.jwks_uri)
        return lambda kid, algorithm: keys.find(kid, algorithm, now=now)

    def _key_set(self, url: str) -> KeySet:
        with self._lock:
            if self._keys is None or self._keys.url != url:
                self._keys = KeySet(url, self._http)
            return self._keys


def _check_demand(verified: VerifiedClaims, demand: Demand, *, now: datetime) -> None:
    """OIDC Core 3.1.2.1: whoever asks for `max_age` must be told `auth_time`; whoever asks for a class must look at it."""
    if demand.max_age is not None:
        if not verified.claims.get("auth_time"):
            raise Unauthenticated(
                "login-age",
                "the provider does not say when the user logged in (auth_time), and this needs a fresh login",
            )
        if now - verified.authenticated_at > timedelta(seconds=demand.max_age) + CLOCK_SKEW:
            raise Unauthenticated(
                "login-age", "the provider did not ask the user to log in again; log out there, then begin again"
            )
    if demand.acr_values and verified.acr not in demand.acr_values:
        raise Unauthenticated(
            "login-acr",
            f"the provider logged in at the class {verified.acr}; needed is one of: {', '.join(demand.acr_values)}",
        )


def _authorization_code(query: Mapping[str, str], state: LoginState, metadata: Metadata) -> str:
    """Check the authorization response (RFC 6749 4.1.2, RFC 9207) before anything in it is used."""
    if not hmac.compare_digest(query.get("state", "").encode("utf-8", "replace"), state.state.encode()):
        raise Unauthenticated(ANOTHER_LOGIN, "this answer belongs to another login; begin again")
    issuer = query.get("iss")
    if issuer != metadata.issuer and (issuer is not None or metadata.iss_in_response):
        raise Unauthenticated("login-issuer", "the answer does not come from the configured provider")
    if "error" in query:
        raise Unauthenticated("login-denied", f"the provider did not log in: {printable(query['error'])}")
    code = query.get("code", "")
    if not 0 < len(code) <= LONGEST_CODE or not code.isascii() or not code.isprintable():  # RFC 6749 A.11
        raise Unauthenticated("login-code", "the answer has no code; begin again")
    return code
