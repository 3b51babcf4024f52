"""A small OpenID provider without passwords, so that `sallyport up` and the demo need no other one. It lets anybody in.

Real in what a relying party sees: discovery, RS256 keys made at start, authorization code with PKCE S256, codes that work
once and for a minute, `iss` in the response (RFC 9207). It remembers nothing beyond its process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.development.page import login_page

USERS: Mapping[str, tuple[str, ...]] = {
    "alice": ("finance", "staff"),
    "bob": ("staff",),
    "carol": ("sallyport-admins",),
}
"""Who may be chosen on the login page, with their groups."""

REQUEST_LIFETIME = 600.0
CODE_LIFETIME = 60.0
TOKEN_LIFETIME = 300
MOST_PENDING = 1000
LARGEST_FORM = 16 * 1024
MOST_FIELDS = 20
KID = "development"


class _Invalid(Exception):
    """A request that is answered with an OAuth error (RFC 6749 sections 4.1.2.1 and 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


@dataclass(frozen=True, slots=True)
class _Authorization:
    """What the relying party asked for; `user` is known once somebody has been chosen."""

    client_id: str
    redirect_uri: str
    state: str
    nonce: str
    challenge: str
    user: str = ""


@dataclass(slots=True)
class _Pending:
    """Single-use secrets and what they stand for. The oldest make room, so strangers cannot fill the memory."""

    lifetime: float
    clock: Callable[[], float]
    kept: dict[str, tuple[float, _Authorization]] = field(default_factory=dict)

    def keep(self, authorization: _Authorization) -> str:
        while len(self.kept) >= MOST_PENDING:
            del self.kept[next(iter(self.kept))]
        name = secrets.token_urlsafe(32)
        self.kept[name] = (self.clock() + self.lifetime, authorization)
        return name

    def take(self, name: str) -> _Authorization | None:
        ends_at, authorization = self.kept.pop(name, (float("-inf"), None))
        return authorization if self.clock() < ends_at else None


class DevelopmentProvider:
    """The provider as a Starlette application (`app`), for one issuer and one redirect URI."""

    def __init__(self, issuer: str, redirect_uri: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self._redirect_uri = redirect_uri
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._requests = _Pending(REQUEST_LIFETIME, clock)
        self._codes = _Pending(CODE_LIFETIME, clock)
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/authorize", self._authorize),
                Route("/login", self._page, methods=["GET"]),
                Route("/login", self._choose, methods=["POST"]),
                Route("/token", self._token, methods=["POST"]),
            ],
            exception_handlers={_Invalid: _answer_invalid},
        )

    async def _discovery(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid", "profile", "email", "groups"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _jwks(self, _request: Request) -> Response:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**public, "kid": KID, "use": "sig", "alg": "RS256"}]})

    async def _authorize(self, request: Request) -> Response:
        asked = request.query_params
        if asked.get("redirect_uri") != self._redirect_uri:
            raise _Invalid("invalid_request", f"redirect_uri must be {self._redirect_uri}")
        if asked.get("response_type") != "code" or "openid" not in asked.get("scope", "").split():
            raise _Invalid("invalid_request", "response_type must be code and scope must contain openid")
        if asked.get("code_challenge_method") != "S256" or len(asked.get("code_challenge", "")) != 43:
            raise _Invalid("invalid_request", "PKCE with code_challenge_method S256 is required")
        authorization = _Authorization(
            client_id=asked.get("client_id", ""),
            redirect_uri=self._redirect_uri,
            state=asked.get("state", ""),
            nonce=asked.get("nonce", ""),
            challenge=asked["code_challenge"],
        )
        return RedirectResponse(f"/login?request={self._requests.keep(authorization)}", 303)

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(login_page(request.query_params.get("request", ""), USERS))

    async def _choose(self, request: Request) -> Response:
        form = await _form(request)
        user = form.get("user", "")
        if user not in USERS:
            raise _Invalid("invalid_request", f"user must be one of {', '.join(USERS)}")
        asked = self._requests.take(form.get("request", ""))
        if asked is None:
            raise _Invalid("invalid_request", "this login is over; begin again")
        code = self._codes.keep(
            _Authorization(asked.client_id, asked.redirect_uri, asked.state, asked.nonce, asked.challenge, user)
        )
        query = urlencode({"code": code, "state": asked.state, "iss": self.issuer})
        return RedirectResponse(f"{asked.redirect_uri}?{query}", 303)

    async def _token(self, request: Request) -> Response:
        form = await _form(request)
        if form.get("grant_type") != "authorization_code":
            raise _Invalid("unsupported_grant_type", "grant_type must be authorization_code")
        granted = self._codes.take(form.get("code", ""))
        if granted is None or form.get("redirect_uri") != granted.redirect_uri:
            raise _Invalid("invalid_grant", "the code is unknown, used up, or for another redirect_uri")
        if not _is_verifier(form.get("code_verifier", ""), granted.challenge):
            raise _Invalid("invalid_grant", "code_verifier does not fit the code_challenge")
        if _client(request, form) != granted.client_id:
            raise _Invalid("invalid_client", "the code was made for another client", 401)
        answer = {"token_type": "Bearer", "expires_in": TOKEN_LIFETIME, "scope": "openid profile email groups"}
        tokens = {"access_token": secrets.token_urlsafe(32), "id_token": self._id_token(granted, int(time.time()))}
        return JSONResponse(answer | tokens, headers={"Cache-Control": "no-store"})

    def _id_token(self, granted: _Authorization, now: int) -> str:
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": granted.client_id,
            "sub": f"development-{granted.user}",
            "iat": now,
            "exp": now + TOKEN_LIFETIME,
            "auth_time": now,
            "nonce": granted.nonce,
            "preferred_username": granted.user,
            "groups": list(USERS[granted.user]),
        }
        return jwt.encode(claims, self._key, "RS256", headers={"kid": KID})


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _Invalid)
    return JSONResponse({"error": error.error, "error_description": str(error)}, error.status)


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM:
            raise _Invalid("invalid_request", f"a form has at most {LARGEST_FORM} bytes", 413)
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS))
    except ValueError:
        raise _Invalid("invalid_request", f"a form has at most {MOST_FIELDS} fields") from None


def _is_verifier(verifier: str, challenge: str) -> bool:
    """RFC 7636 section 4.6."""
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return 43 <= len(verifier) <= 128 and hmac.compare_digest(expected.encode(), challenge.encode())


def _client(request: Request, form: Mapping[str, str]) -> str:
    """A public client names itself in the form, one with a secret in the header. Any secret is right here."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", "")
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:
        raise _Invalid("invalid_client", "the Authorization header is not Basic", 401) from None
