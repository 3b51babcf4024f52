"""An OpenID provider that keeps the FAPI 2.0 Security Profile: pushed requests, clients that sign, tokens bound to a key.

It checks what a strict provider checks and says why it refuses. Its checks are written here and not with the code under test.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import jwt

from tests.sim.provider import CLIENT, ISSUER, TOKEN, USERINFO, Provider, Signer, base64url

PAR = "/par"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Objection(Exception):
    """Why a request is refused: status, error, and what it needs."""

    def __init__(self, error: str, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.error, self.status = error, status


@dataclass(slots=True)
class FapiProvider(Provider):
    """`client_jwk` is the client's registered key. With `nonce` every proof needs it; `token_type` and `scheme` are its spelling.

    `objections` says what it refused and why; a test of an honest client has none but the wanted nonces.
    """

    client_jwk: dict[str, Any] = field(default_factory=dict)
    nonce: str | None = "provider-nonce-1"
    token_type: str = "DPoP"
    scheme: str = "DPoP"
    objections: list[str] = field(default_factory=list)
    _pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    _bound: dict[str, str] = field(default_factory=dict)
    _spent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.signer = Signer("fapi", "PS256")
        self.published = [self.signer.jwk]
        self.metadata = {
            "id_token_signing_alg_values_supported": ["PS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "dpop_signing_alg_values_supported": ["ES256", "PS256"],
            "pushed_authorization_request_endpoint": f"{ISSUER}{PAR}",
            "require_pushed_authorization_requests": True,
            **self.metadata,
        }
        self.answers = {PAR: self._take(self._push), TOKEN: self._take(self._tokens), USERINFO: self._take(self._user)}

    def authorize(self, url: str, user: str = "alice") -> dict[str, str]:
        """The browser brings nothing but the name of the request that was pushed."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert set(query) == {"client_id", "request_uri"}, "FAPI 2 section 5.3.2.2: everything else is pushed"
        pushed = self._pushed.pop(query["request_uri"])
        assert query["client_id"] == pushed["client_id"]
        return Provider.authorize(self, f"{self.issuer}/authorize?{httpx2.QueryParams(pushed)}", user)

    def _take(self, endpoint: Any) -> Any:
        def answer(request: httpx2.Request) -> httpx2.Response:
            try:
                return endpoint(request)
            except Objection as objection:
                self.objections.append(f"{request.url.path}: {objection.error}: {objection}")
                headers = {"DPoP-Nonce": self.nonce} if self.nonce else {}
                if objection.status == 401:
                    headers["WWW-Authenticate"] = f'{self.scheme} error="{objection.error}"'
                return httpx2.Response(objection.status, json={"error": objection.error}, headers=headers)

        return answer

    def _push(self, request: httpx2.Request) -> httpx2.Response:
        form = self._authenticated(request)
        self._proven(request)
        name = f"urn:ietf:params:oauth:request_uri:{len(self.requests)}"
        self._pushed[name] = {key: value for key, value in form.items() if not key.startswith("client_assertion")}
        return httpx2.Response(201, json={"request_uri": name, "expires_in": 60})

    def _tokens(self, request: httpx2.Request) -> httpx2.Response:
        self._authenticated(request)
        thumbprint = self._proven(request)
        answer = Provider.token(self, request)
        if answer.status_code != 200:
            return answer
        members = {"token_type": self.token_type, **answer.json()}
        members["token_type"] = self.token_type
        self._bound[members["access_token"]] = thumbprint
        return httpx2.Response(200, json=members)

    def _user(self, request: httpx2.Request) -> httpx2.Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "dpop" or token not in self._bound:
            raise Objection("invalid_token", "no token of ours", 401)
        thumbprint = self._proven(request, token, status=401)
        if self._bound[token] != thumbprint:
            raise Objection("invalid_token", "the token is bound to another key", 401)
        request.headers["authorization"] = f"Bearer {token}"
        return Provider.user(self, request)

    def _authenticated(self, request: httpx2.Request) -> dict[str, str]:
        form = dict(parse_qsl(request.content.decode()))
        if "authorization" in request.headers or "client_secret" in form:
            raise Objection("invalid_client", "no secrets")
        if form.get("client_assertion_type") != ASSERTION_TYPE or form.get("client_id") != CLIENT:
            raise Objection("invalid_client", "an assertion is needed")
        key = jwt.PyJWK.from_dict(self.client_jwk).key
        claims = jwt.decode(
            form["client_assertion"], key, ["ES256"], audience=ISSUER, issuer=CLIENT, options={"verify_exp": False}
        )
        if claims["aud"] != ISSUER or claims["sub"] != CLIENT:
            raise Objection("invalid_client", "FAPI 2 section 5.3.2.1: the audience is the issuer as a text")
        if not claims["iat"] <= self.now.timestamp() < claims["exp"] <= claims["iat"] + 300:
            raise Objection("invalid_client", "the assertion is not of now")
        self._spend(claims["jti"])
        return form

    def _proven(self, request: httpx2.Request, access_token: str | None = None, *, status: int = 400) -> str:
        """RFC 9449 section 4.3. Gives the thumbprint of the key that the proof is by."""
        proof = request.headers.get("dpop", "")
        header = jwt.get_unverified_header(proof)
        if header["typ"] != "dpop+jwt" or set(header["jwk"]) != {"kty", "crv", "x", "y"}:
            raise Objection("invalid_dpop_proof", "no proof, or one with a private key in it", status)
        claims = jwt.decode(proof, jwt.PyJWK.from_dict(header["jwk"]).key, ["ES256"], options={"verify_iat": False})
        if claims["htm"] != request.method or claims["htu"] != f"{self.issuer}{request.url.path}":
            raise Objection("invalid_dpop_proof", "for another request", status)
        if abs(claims["iat"] - self.now.timestamp()) > 30:
            raise Objection("invalid_dpop_proof", "not of now", status)
        ath = base64url(hashlib.sha256(access_token.encode()).digest()) if access_token else None
        if claims.get("ath") != ath:
            raise Objection("invalid_dpop_proof", "for another token", status)
        self._spend(claims["jti"])
        if claims.get("nonce") != self.nonce:
            raise Objection("use_dpop_nonce", "the nonce is wanted", status)
        canonical = json.dumps(header["jwk"], separators=(",", ":"), sort_keys=True)
        return base64url(hashlib.sha256(canonical.encode()).digest())

    def _spend(self, jti: str) -> None:
        if jti in self._spent:
            raise Objection("invalid_request", "used before")
        self._spent.add(jti)
