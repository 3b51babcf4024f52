"""The agent's tokens in requests: where they are given, and how a request shows one (RFC 9449)."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from agent import wire
from gateway.access import devices, tokens
from gateway.errors import Malformed, Unauthenticated
from gateway.identity import device
from gateway.identity.device_key import DeviceKey
from gateway.identity.kinds import ACCESS_LIFETIME
from gateway.identity.tokens import VerifiedProof
from gateway.store import tables
from gateway.store.engine import reading, writing
from gateway.web.deployment import Deployment
from gateway.web.operations import Operation, Proof, answer_json

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 8
TOKEN_PATH = "/v1/token"  # noqa: S105


def shown(gateway: Deployment, request: Request, *, now: datetime) -> VerifiedProof:
    """Verify the access token and its proof. The caller spends the proof in its own transaction (`spend`)."""
    scheme, _, token = _only(gateway, request, "authorization", now=now).partition(" ")
    if scheme.lower() != "dpop" or not token:
        raise _challenge(
            gateway, Unauthenticated("token-missing", "send Authorization: DPoP with an access token"), now=now
        )
    return _proof(gateway, request, now=now, access_token=token.strip())


def spend(db: Session, proof: VerifiedProof, *, now: datetime) -> None:
    """Use a proof up, for a device that is enrolled still."""
    devices.enrolled(db, proof.device)
    devices.spend(db, proof.device, proof.jti, now=now)


def token(gateway: Deployment, request: Request, body: bytes) -> Response:
    """Give tokens for an assertion by the device key, or for a refresh token; both with a DPoP proof by that key."""
    now = gateway.clock.now()
    gateway.clock.check()
    given = _form(body)
    proof = _proof(gateway, request, now=now)
    match given.get("grant_type"):
        case wire.GRANT_ASSERTION:
            family = _asserted(gateway, given.get("assertion", ""), proof, now=now)
        case "refresh_token":
            family = _refreshed(gateway, given.get("refresh_token"), proof, now=now)
        case _:
            raise Malformed("unsupported-grant", f"grant_type must be refresh_token or {wire.GRANT_ASSERTION}")
    fresh = {"now": now, "entropy": gateway.entropy}
    generation, until = family.generation, family.expires_at
    return answer_json(
        {
            "access_token": gateway.mint.access_token(family.device, **fresh),  # type: ignore[arg-type]
            "token_type": "DPoP",
            "expires_in": int(ACCESS_LIFETIME.total_seconds()),
            "refresh_token": gateway.mint.refresh_token(family.device, family.id, generation, until=until, **fresh),  # type: ignore[arg-type]
        }
    )


def _asserted(gateway: Deployment, assertion: str, proof: VerifiedProof, *, now: datetime) -> tables.TokenFamily:
    """RFC 7523 section 2.1. The assertion and the proof are by the same key."""
    body = assertion.encode("ascii", "replace")
    with reading(gateway.engine) as db:
        key = DeviceKey.from_jwk(devices.jwk_of(db, device.device_id_of(body)))
    verified = device.verify_device(body, key, typ=wire.TYP_ASSERTION, now=now)
    _same(proof, verified.device)
    with writing(gateway.engine) as db:
        spend(db, proof, now=now)
        devices.spend(db, verified.device, verified.claims["jti"], now=now)
        return tokens.begin(db, verified.device, now=now, entropy=gateway.entropy)


def _refreshed(gateway: Deployment, token: str | None, proof: VerifiedProof, *, now: datetime) -> tables.TokenFamily:
    refresh = gateway.mint.verify_refresh(token, now=now)
    _same(proof, refresh.device)  # before anything is used up: a thief without the key ends nobody's family
    try:
        with writing(gateway.engine) as db:
            spend(db, proof, now=now)
            return tokens.rotate(db, refresh, now=now)
    except tokens.Reused:
        with writing(gateway.engine) as db:
            tokens.end(db, refresh.family, now=now)
        raise


def _same(proof: VerifiedProof, device: str) -> None:
    if proof.device != device:
        raise Unauthenticated("dpop-holder", "the proof is by another key than the grant is bound to")


def _proof(gateway: Deployment, request: Request, *, now: datetime, access_token: str | None = None) -> VerifiedProof:
    try:
        return gateway.mint.verify_proof(
            _only(gateway, request, "dpop", now=now),
            method=request.method,
            path=request.scope["path"],
            now=now,
            access_token=access_token,
        )
    except Unauthenticated as refused:
        raise _challenge(gateway, refused, now=now) from None


def _only(gateway: Deployment, request: Request, name: str, *, now: datetime) -> str:
    """RFC 9449 4.3 step 1: the header is there once; two of them would let two readers differ."""
    values = request.headers.getlist(name)
    if len(values) != 1:
        code = "token-missing" if name == "authorization" else "dpop-missing"
        why = f"send the header {name} once: Authorization: DPoP <access token>, and DPoP: <proof>"
        raise _challenge(gateway, Unauthenticated(code, why), now=now)
    return values[0]


def _challenge(gateway: Deployment, refused: Unauthenticated, *, now: datetime) -> Unauthenticated:
    """RFC 9449 sections 7.1 and 8: say what is wrong, and give the nonce that the next proof needs."""
    error = "use_dpop_nonce" if refused.code == "dpop-nonce" else "invalid_token"
    challenge = f'DPoP error="{error}", algs="ES256"'
    refused.headers = {"WWW-Authenticate": challenge, "DPoP-Nonce": gateway.mint.nonces(now=now)[0]}
    refused.extra["error"] = error
    return refused


def _form(body: bytes) -> dict[str, str]:
    """RFC 6749 3.2: no parameter more than once."""
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Malformed("form", f"the body must be a form of at most {MOST_FIELDS} fields") from None
    given = dict(fields)
    if len(given) != len(fields):
        raise Malformed("form", "a field of the form is there twice")
    return given


OPERATIONS = (Operation("POST", TOKEN_PATH, "Get tokens for an agent", Proof.DEVICE_TOKEN, 200, token, body=FORM),)
