"""This client at the provider's endpoints: where it sends a browser, and how it turns a code into tokens.

Authlib speaks OAuth (RFC 6749, RFC 7636). Under the FAPI 2.0 Security Profile the request is pushed first (RFC 9126), the
client proves itself by its key instead of a secret, and the tokens are bound to that key (RFC 9449). Nothing here
believes what a token says.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity.discovery import Metadata
from gateway.identity.http import TIMEOUT, Egress, json_object, reason
from gateway.identity.login_state import Demand, LoginState
from gateway.identity.possession import NONCE_WANTED, Possession, Prover

LONGEST_REQUEST_URI = 2048


class TokenClient:
    """One client at one provider. With a `prover` it keeps the FAPI 2.0 Security Profile, and needs no secret."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str | None,
        redirect_uri: str,
        http: Egress,
        prover: Prover | None,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._http = http
        self._prover = prover

    def authorization_url(
        self, metadata: Metadata, scope: str, state: LoginState, *, now: datetime, hint: str | None = None
    ) -> str:
        """Say where the browser begins its login. Raises ProviderError when a pushed request is not taken."""
        url, _ = self._oauth(metadata, scope).create_authorization_url(
            metadata.authorization_endpoint,
            state=state.state,
            code_verifier=state.verifier,
            nonce=state.nonce,
            **({"login_hint": hint} if hint else {}),
            **_demanded(state.demand),
        )
        if self._prover is None:
            return str(url)
        own = dict(parse_qsl(urlsplit(metadata.authorization_endpoint).query))
        asked = {name: value for name, value in parse_qsl(urlsplit(url).query) if name not in own}
        members = {"client_id": self._client_id, "request_uri": self._push(metadata, asked, now=now)}
        return f"{metadata.authorization_endpoint}{'&' if own else '?'}{urlencode(members)}"

    def exchange(self, metadata: Metadata, code: str, state: LoginState, *, now: datetime) -> Mapping[str, Any]:
        """Turn the code into tokens. Raises Unauthenticated `login-code`, or ProviderError when the provider is at fault."""
        return self.request(metadata, grant_type="authorization_code", code=code, code_verifier=state.verifier, now=now)

    def request(self, metadata: Metadata, *, now: datetime, **form: str) -> Mapping[str, Any]:
        """Ask the token endpoint. Raises as `exchange` does."""
        try:
            return self._fetch(metadata, form, now=now)
        except OAuthError as error:
            if error.error != NONCE_WANTED or self._prover is None:
                raise _translated(error, metadata) from None
        try:
            return self._fetch(metadata, form, now=now)  # with the nonce that came with the refusal
        except OAuthError as error:
            raise _translated(error, metadata) from None

    def _possession(self, *, now: datetime) -> Possession | None:
        return None if self._prover is None else Possession(self._prover, now=now)

    def _fetch(self, metadata: Metadata, form: Mapping[str, str], *, now: datetime) -> Mapping[str, Any]:
        try:
            tokens = self._oauth(metadata).fetch_token(
                metadata.token_endpoint, auth=self._possession(now=now), **form, **self._assertion(metadata, now=now)
            )
        except httpx2.HTTPStatusError as error:
            raise ProviderError(f"{metadata.token_endpoint}: answered {error.response.status_code}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError, OverflowError, RecursionError) as error:
            # the last four: Authlib reads the answer leniently and trips over some that are none
            raise ProviderError(f"{metadata.token_endpoint}: {reason(error)}") from None
        return dict(tokens)

    def _push(self, metadata: Metadata, asked: Mapping[str, str], *, now: datetime) -> str:
        """RFC 9126: leave the request at the provider. Gives the name of it that the browser takes along."""
        assert metadata.par_endpoint is not None  # `fapi2.narrowed` has looked
        answer = self._leave(metadata, metadata.par_endpoint, asked, now=now)
        if answer.status_code == 400 and _error(answer) == NONCE_WANTED:
            answer = self._leave(metadata, metadata.par_endpoint, asked, now=now)
        if answer.status_code != 201:
            told = f"answered {answer.status_code} {printable(_error(answer))}".rstrip()
            raise ProviderError(f"{metadata.par_endpoint}: {told} to the pushed request")
        name = json_object(answer).get("request_uri")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_REQUEST_URI:
            raise ProviderError(f"{metadata.par_endpoint}: the answer has no request_uri")
        return name

    def _leave(self, metadata: Metadata, url: str, asked: Mapping[str, str], *, now: datetime) -> httpx2.Response:
        form = {**asked, **self._assertion(metadata, now=now)}
        return self._http.post(url, form, auth=self._possession(now=now))

    def _assertion(self, metadata: Metadata, *, now: datetime) -> dict[str, str]:
        if self._prover is None:
            return {}
        return self._prover.assertion(self._client_id, metadata.issuer, now=now)

    def _oauth(self, metadata: Metadata, scope: str | None = None) -> OAuth2Client:
        """Make a client for one use: Authlib keeps the last token in it, which must not meet another login."""
        return OAuth2Client(
            self._client_id,
            self._client_secret,
            token_endpoint_auth_method=self._authentication(metadata),
            scope=scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            transport=self._http.transport,
            trust_env=False,
            timeout=TIMEOUT,
            follow_redirects=False,
        )

    def _authentication(self, metadata: Metadata) -> str:
        if self._client_secret is None:
            return "none"
        methods = ("client_secret_basic", "client_secret_post")
        return next((method for method in methods if method in metadata.token_auth_methods), methods[0])


def _demanded(demand: Demand) -> dict[str, str]:
    """OIDC Core 3.1.2.1. A provider may ignore each of these, so that what comes back is checked."""
    asked = {"prompt": "login"} if demand.fresh else {}
    if demand.max_age is not None:
        asked["max_age"] = str(demand.max_age)
    if demand.acr_values:
        asked["acr_values"] = " ".join(demand.acr_values)
    return asked


def _translated(error: OAuthError, metadata: Metadata) -> Unauthenticated | ProviderError:
    if error.error == "invalid_grant":
        return Unauthenticated("login-code", "the code is used up or not for this login; begin again")
    return ProviderError(f"{metadata.token_endpoint}: {printable(str(error.error))}")


def _error(answer: httpx2.Response) -> str:
    try:
        return str(json_object(answer).get("error", ""))
    except ProviderError:
        return ""


def printable(text: str) -> str:
    """Shorten a stranger's text to what may be shown: RFC 6749 allows an error code no more than this."""
    return "".join(character for character in text[:80] if " " <= character <= "~" and character not in '"\\')
