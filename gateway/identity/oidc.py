"""The relying party: sends a browser to the provider and turns what comes back into a verified login.

Authlib speaks OAuth (RFC 6749, RFC 7636); what it must not decide is decided here and in `verify`. Where a login leads,
and whether this browser began it, is the caller's: the state cookie is opened before `finish`.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity import claims, userinfo
from gateway.identity.claim_rules import Expected
from gateway.identity.compact import base64url
from gateway.identity.discovery import Discovery, Metadata
from gateway.identity.http import TIMEOUT, Egress, reason
from gateway.identity.jwks import KeySet
from gateway.identity.login_state import LoginState
from gateway.identity.verify import FindKey, VerifiedClaims, VerifiedLogout, verify_id_token, verify_logout_token

SECRET_SIZE = 32
"""Bytes of state, nonce and verifier: 43 characters, the least that RFC 7636 allows a verifier."""

LONGEST_CODE = 4096
REACHABLE_FOR = 10.0
"""Seconds for which an answer of `reachable` is repeated: a probe must not become a request to the provider each time."""

ANOTHER_LOGIN = "login-state"
"""The code of the refusal that says nothing about this login: the answer was for another one."""

WANTED_SCOPES = ("profile", "email", "groups")


@dataclass(frozen=True, slots=True)
class LoginBegun:
    """Where to send the browser, and what to remember in it."""

    url: str
    state: LoginState


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    """Who logged in, in the provider's words, for which purpose of ours. Made only in this file."""

    issuer: str
    subject: str
    user: str
    groups: tuple[str, ...]
    authenticated_at: datetime
    issued_at: datetime
    sid: str | None
    purpose: str


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
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._groups_claim = groups_claim
        self._http = http
        self._discovery = Discovery(issuer, http)
        self._keys: KeySet | None = None
        self._lock = threading.Lock()
        self._reachable = (float("-inf"), False)

    def begin(self, purpose: str, *, entropy: Callable[[int], bytes], now: datetime) -> LoginBegun:
        """Start a login. Raises ProviderError when the provider cannot be used."""
        metadata = self._discovery.metadata(now=now)
        state, nonce, verifier = (base64url(entropy(SECRET_SIZE)) for _ in range(3))
        scope = " ".join(["openid", *(scope for scope in WANTED_SCOPES if scope in metadata.scopes)])
        url, _ = self._oauth(metadata, scope).create_authorization_url(
            metadata.authorization_endpoint, state=state, code_verifier=verifier, nonce=nonce
        )
        return LoginBegun(url, LoginState(purpose, state, nonce, verifier, now))

    def finish(self, query: Mapping[str, str], state: LoginState, *, now: datetime) -> VerifiedLogin:
        """Turn the parameters of the callback into a login.

        Raises Unauthenticated with a code `login-…` when it does not hold, ProviderError when the provider is at fault.
        """
        metadata = self._discovery.metadata(now=now)
        code = _authorization_code(query, state, metadata)
        tokens = self._exchange(metadata, code, state)
        verified = self._verify(metadata, tokens, state, now=now)
        return VerifiedLogin(
            issuer=verified.issuer,
            subject=verified.subject,
            user=claims.user(verified),
            groups=claims.groups(self._group_claims(metadata, tokens, verified), self._groups_claim),
            authenticated_at=verified.authenticated_at,
            issued_at=verified.issued_at,
            sid=verified.sid,
            purpose=state.purpose,
        )

    def logout(self, token: object, *, now: datetime) -> VerifiedLogout:
        """Verify a logout token. Raises Malformed `logout-token-…`, or ProviderError when that cannot be told now."""
        metadata = self._discovery.metadata(now=now)
        expected = Expected(metadata.issuer, self._client_id, metadata.algorithms)
        return verify_logout_token(token, expected, self._find_key(metadata, now=now), now=now)

    def reachable(self) -> bool:
        """Say whether a login could begin now."""
        asked_at, answer = self._reachable
        if time.monotonic() - asked_at >= REACHABLE_FOR:
            answer = self._ask()
            self._reachable = (time.monotonic(), answer)
        return answer

    def _ask(self) -> bool:
        try:
            self._discovery.metadata(now=datetime.now(UTC))
        except ProviderError:
            return False
        return True

    def _oauth(self, metadata: Metadata, scope: str | None = None) -> OAuth2Client:
        """Make a client for one use: Authlib keeps the last token in it, which must not meet another login."""
        return OAuth2Client(
            self._client_id,
            self._client_secret,
            token_endpoint_auth_method=self._client_authentication(metadata),
            scope=scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            transport=self._http.transport,
            trust_env=False,
            timeout=TIMEOUT,
            follow_redirects=False,
        )

    def _client_authentication(self, metadata: Metadata) -> str:
        if self._client_secret is None:
            return "none"
        methods = ("client_secret_basic", "client_secret_post")
        return next((method for method in methods if method in metadata.token_auth_methods), methods[0])

    def _exchange(self, metadata: Metadata, code: str, state: LoginState) -> Mapping[str, Any]:
        try:
            tokens = self._oauth(metadata).fetch_token(
                metadata.token_endpoint, grant_type="authorization_code", code=code, code_verifier=state.verifier
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise Unauthenticated("login-code", "the code is used up or not for this login; begin again") from None
            raise ProviderError(f"{metadata.token_endpoint}: {printable(str(error.error))}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, OverflowError, RecursionError) as error:
            # the last four: Authlib reads the answer leniently and trips over some that are none
            raise ProviderError(f"{metadata.token_endpoint}: {reason(error)}") from None
        return dict(tokens)

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
        self, metadata: Metadata, tokens: Mapping[str, Any], verified: VerifiedClaims
    ) -> Mapping[str, Any]:
        """Give the claims to read groups from: the ID token's, or userinfo's where the ID token is silent."""
        if metadata.userinfo_endpoint is None or claims.names_groups(verified.claims, self._groups_claim):
            return verified.claims
        return userinfo.ask(self._http, metadata.userinfo_endpoint, tokens, verified)

    def _find_key(self, metadata: Metadata, *, now: datetime) -> FindKey:
        keys = self._key_set(metadata.jwks_uri)
        return lambda kid, algorithm: keys.find(kid, algorithm, now=now)

    def _key_set(self, url: str) -> KeySet:
        with self._lock:
            if self._keys is None or self._keys.url != url:
                self._keys = KeySet(url, self._http)
            return self._keys


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


def printable(text: str) -> str:
    """Shorten a stranger's text to what may be shown: RFC 6749 allows an error code no more than this."""
    return "".join(character for character in text[:80] if " " <= character <= "~" and character not in '"\\')
