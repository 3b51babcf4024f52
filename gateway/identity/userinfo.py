"""The userinfo endpoint (OIDC Core 5.3): what the provider says of a user to whoever shows the access token.

The answer is believed as far as TLS to the provider goes, and only about the subject of the verified ID token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.errors import ProviderError, Unauthenticated
from gateway.identity.http import Bearer, Egress, json_object
from gateway.identity.possession import Possession, Prover

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")
"""RFC 6750 section 2.1: what a token may consist of; anything else would be a header of the provider's choice."""


def ask(
    http: Egress,
    url: str,
    tokens: Mapping[str, Any],
    subject: str,
    prover: Prover | None = None,
    *,
    now: datetime,
) -> Mapping[str, Any]:
    """Ask for the claims of the user who has just logged in. With a `prover` the access token is bound to its key.

    Raises ProviderError when the answer is none, Unauthenticated `login-userinfo` when it is about somebody else.
    """
    token = _access_token(tokens, "bearer" if prover is None else "DPoP")
    answer = http.get(url, auth=Bearer(token) if prover is None else Possession(prover, now=now, access_token=token))
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/jwt":
        raise ProviderError(
            f"{url}: the answer is a signed token, and only plain JSON is read; "
            "unset userinfo_signed_response_alg of this client at the provider, or let it put the groups in the ID token"
        )
    if media_type != "application/json":
        raise ProviderError(f"{url}: the answer must be application/json")
    members = json_object(answer)
    if members.get("sub") != subject:  # OIDC Core 5.3.2: or its claims must not be used
        raise Unauthenticated("login-userinfo", "the provider's userinfo is about another user than its ID token")
    return members


def _access_token(tokens: Mapping[str, Any], wanted: str) -> str:
    token, kind = tokens.get("access_token"), tokens.get("token_type")
    if not isinstance(kind, str) or kind.lower() != wanted.lower():
        raise Unauthenticated(
            "login-userinfo", f"the provider gave no {wanted} token to ask its userinfo endpoint with"
        )
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise Unauthenticated(
            "login-userinfo", "the provider gave no usable access token to ask its userinfo endpoint with"
        )
    return token
