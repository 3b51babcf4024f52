"""An OpenID provider inside the test, reached through the gateway's own way out. Honest until it is told to lie.

It is a transport under `gateway.identity.http.Egress`: discovery, key set, token endpoint with PKCE. Its hashes and
signatures are computed here and not with the code under test.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import itertools
import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.identity.http import Egress
from gateway.identity.login_state import LoginState
from gateway.identity.oidc import LoginBegun, RelyingParty, VerifiedLogin
from gateway.identity.possession import Prover

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ISSUER = "https://login.example"
CLIENT = "sallyport"
CALLBACK = "https://gateway.example/callback"
ADDRESS = ip_address("5.6.7.8")
"""Any address of the public internet: no packet is sent."""

DISCOVERY, KEYS, TOKEN, USERINFO = "/.well-known/openid-configuration", "/keys", "/token", "/userinfo"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
GROUPS = {
    "alice": ["finance", "staff"],
    "bob": ["staff"],
    "carol": ["sallyport-admins"],
    "oscar": ["sallyport-operators"],
    "audra": ["sallyport-auditors"],
}

Answer = Callable[[httpx2.Request], httpx2.Response]


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def private_key(name: str, algorithm: str) -> Any:
    """One key for each name and family in the whole run: RSA keys take their time."""
    if algorithm.startswith("ES"):
        return ec.generate_private_key(
            {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
        )
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return _rsa_key(name)


@functools.cache
def _rsa_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Signer:
    """A named key of a provider and what it signs with."""

    kid: str
    algorithm: str = "RS256"

    @property
    def key(self) -> Any:
        return private_key(self.kid, self.algorithm)

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half as the provider publishes it."""
        public = json.loads(jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key()))
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, signing_input: bytes) -> bytes:
        return jwt.get_algorithm_by_name(self.algorithm).sign(signing_input, self.key)


def jws(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, sign: Callable[[bytes], bytes]) -> str:
    """The compact serialisation of any header and payload, honest or not."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(base64url(part) for part in parts)
    return f"{signing_input}.{base64url(sign(signing_input.encode()))}"


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    """Sign with a symmetric key, as who confuses the algorithms does."""
    return lambda signing_input: hmac.new(secret, signing_input, "sha256").digest()


@dataclass(slots=True)
class Draft:
    """An ID token that is about to be signed."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signer: Signer

    def sign(self) -> str:
        return jws(self.header, self.claims, self.signer.sign)

    def with_header(self, **members: Any) -> str:
        return jws({**self.header, **members}, self.claims, self.signer.sign)

    def with_claims(self, **members: Any) -> str:
        return jws(self.header, {**self.claims, **members}, self.signer.sign)

    def without(self, claim: str) -> str:
        return jws(self.header, {name: value for name, value in self.claims.items() if name != claim}, self.signer.sign)


@dataclass(slots=True)
class Provider(httpx2.BaseTransport):
    """The provider. `metadata` are lies about itself, `answers` replace what a path says, `id_token` what is signed,
    `userinfo` what it says of a user beside the subject.

    Every login is a session of its own; `sids` has the latest of each user.
    """

    issuer: str = ISSUER
    now: datetime = START
    metadata: dict[str, Any] = field(default_factory=dict)
    signer: Signer = Signer("one")
    published: list[dict[str, Any]] = field(default_factory=lambda: [Signer("one").jwk])
    key_headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    id_token: Callable[[Draft], object] = Draft.sign
    token_answer: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    requests: list[httpx2.Request] = field(default_factory=list)
    sids: dict[str, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    renews_id_token: bool = True
    groups: dict[str, list[str]] = field(default_factory=lambda: {user: list(names) for user, names in GROUPS.items()})
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _lasting: dict[str, dict[str, str]] = field(default_factory=dict)
    _access_tokens: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def base(self) -> str:
        """Where its endpoints lie."""
        return self.issuer.rstrip("/")

    def rotate(self, kid: str, algorithm: str = "RS256", *, keep: bool = False) -> None:
        """Sign with a new key, and publish it with or without the old ones."""
        self.signer = Signer(kid, algorithm)
        self.published = [self.signer.jwk, *(self.published if keep else ())]

    def authorize(self, url: str, user: str = "alice") -> dict[str, str]:
        """The user logs in at `url`. Gives what the browser brings back to the callback."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["redirect_uri"] == CALLBACK
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self._codes)}"
        self.sids[user] = f"sid-{next(self._numbers)}"
        self._codes[code] = {**asked, "user": user}
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def logout(self, **claims: object) -> Draft:
        """An honest logout token once it says `sub`, `sid` or both."""
        at = int(self.now.timestamp())
        says = {"iss": self.issuer, "aud": CLIENT, "iat": at, "exp": at + 120, "events": {LOGOUT_EVENT: {}}}
        header = {"alg": self.signer.algorithm, "kid": self.signer.kid, "typ": "logout+jwt"}
        return Draft(header, {**says, "jti": f"logout-{next(self._numbers)}", **claims}, self.signer)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix(urlsplit(self.issuer).path.rstrip("/"))
        request.read()
        self.asked.append(path)
        self.requests.append(request)
        usual: dict[str, Answer] = {
            DISCOVERY: self._discovery,
            KEYS: self.keys,
            TOKEN: self.token,
            USERINFO: self.user,
        }
        answer = self.answers.get(path) or usual.get(path)
        return answer(request) if answer else httpx2.Response(404)

    def _discovery(self, _request: httpx2.Request) -> httpx2.Response:
        members = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}{TOKEN}",
            "jwks_uri": f"{self.base}{KEYS}",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "scopes_supported": ["openid", "profile", "groups"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return httpx2.Response(200, json={name: value for name, value in members.items() if value is not None})

    def keys(self, _request: httpx2.Request) -> httpx2.Response:
        """The published key set."""
        return httpx2.Response(200, json={"keys": self.published}, headers=self.key_headers)

    def token(self, request: httpx2.Request) -> httpx2.Response:
        """The token endpoint: a code for tokens, once."""
        form = dict(parse_qsl(request.content.decode()))
        if form.get("grant_type") == "refresh_token":
            return self._renewed(form["refresh_token"])
        granted = self._codes.pop(form.get("code", ""), None)
        challenge = base64url(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if granted is None or granted["code_challenge"] != challenge or form["redirect_uri"] != CALLBACK:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        access_token = f"access-{len(self.requests)}"
        self._access_tokens[access_token] = granted["user"]
        members = {
            "token_type": "Bearer",
            "access_token": access_token,
            "id_token": self._signed(granted, access_token),
            "refresh_token": self._last(granted) if "offline_access" in granted["scope"].split() else None,
        }
        answer = {**members, **self.token_answer}
        return httpx2.Response(200, json={name: value for name, value in answer.items() if value is not None})

    def _renewed(self, refresh_token: str) -> httpx2.Response:
        """Rotate: a refresh token is good once, and only while its user is."""
        granted = self._lasting.pop(refresh_token, None)
        if granted is None or granted["user"] in self.disabled:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        access_token = f"access-{len(self.requests)}"
        self._access_tokens[access_token] = granted["user"]
        members = {
            "token_type": "Bearer",
            "access_token": access_token,
            "id_token": self._signed(granted, access_token, renewed=True) if self.renews_id_token else None,
            "refresh_token": self._last(granted),
        }
        answer = {**members, **self.token_answer}
        return httpx2.Response(200, json={name: value for name, value in answer.items() if value is not None})

    def _last(self, granted: dict[str, str]) -> str:
        token = f"refresh-{next(self._numbers)}"
        self._lasting[token] = granted
        return token

    def user(self, request: httpx2.Request) -> httpx2.Response:
        """The userinfo endpoint."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._access_tokens:
            return httpx2.Response(401, headers={"www-authenticate": 'Bearer error="invalid_token"'})
        members = {"sub": f"sub-{self._access_tokens[token]}", **self.userinfo}
        return httpx2.Response(200, json={name: value for name, value in members.items() if value is not None})

    def _signed(self, granted: Mapping[str, str], access_token: str, *, renewed: bool = False) -> object:
        at, user = int(self.now.timestamp()), granted["user"]
        claims = {
            "iss": self.issuer,
            "aud": granted["client_id"],
            "sub": f"sub-{user}",
            "sid": self.sids[user],
            "iat": at,
            "exp": at + 300,
            "auth_time": at - 5,
            "nonce": granted["nonce"],
            "at_hash": at_hash(access_token, self.signer.algorithm),
            "preferred_username": user,
            "groups": self.groups[user],
        }
        if renewed:
            del claims["nonce"]
        header = {"alg": self.signer.algorithm, "kid": self.signer.kid, "typ": "JWT"}
        return self.id_token(Draft(header, claims, self.signer))


def at_hash(access_token: str, algorithm: str) -> str:
    """OIDC Core 3.1.3.6: the left half of the hash that belongs to the algorithm."""
    size = {"256": "sha256", "384": "sha384"}.get(algorithm[-3:], "sha512")
    digest = hashlib.new(size, access_token.encode()).digest()
    return base64url(digest[: len(digest) // 2])


class LoginDesk:
    """A relying party at a provider, and browsers that log in. One clock for both, turned by hand."""

    def __init__(
        self,
        provider: Provider,
        *,
        client_secret: str | None = None,
        groups_claim: str = "groups",
        prover: Prover | None = None,
        name: str = "",
        groups_prefix: str = "",
    ) -> None:
        self.provider = provider
        self.party = RelyingParty(
            issuer=provider.issuer,
            client_id=CLIENT,
            client_secret=client_secret,
            redirect_uri=CALLBACK,
            groups_claim=groups_claim,
            http=Egress(allow_loopback=False, resolve=lambda _host, _port: [ADDRESS], wire=provider),
            prover=prover,
            name=name,
            groups_prefix=groups_prefix,
        )
        self._random = random.Random(1)

    def begin(self) -> LoginBegun:
        return self.party.begin("admin", entropy=self._random.randbytes, now=self.provider.now)

    def finish(self, query: Mapping[str, str], state: LoginState) -> VerifiedLogin:
        return self.party.finish(query, state, now=self.provider.now)

    def log_in(self, user: str = "alice") -> VerifiedLogin:
        """The whole way: to the provider and back."""
        begun = self.begin()
        return self.finish(self.provider.authorize(begun.url, user), begun.state)

    def passes(self, time: timedelta) -> None:
        self.provider.now += time

    def asked(self, paths: Iterable[str]) -> int:
        """How often these paths were asked for."""
        return sum(path in set(paths) for path in self.provider.asked)
