"""Tokens of our own kinds (DPoP proof, access, refresh, report, enrolment), honest until a row of the table changes them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from agent import wire
from gateway.identity import device
from gateway.identity.claim_rules import Expected
from gateway.identity.device_key import DeviceKey
from gateway.identity.kinds import ACCESS_TOKEN, DPOP_PROOF, ENROLMENT, ES256, REFRESH_TOKEN, REPORT, Kind
from gateway.identity.proof_rules import ath
from gateway.identity.tokens import Mint
from gateway.identity.verify import verify
from tests.sim.provider import START, jws

NOW = START.timestamp()
ORIGIN = "https://gateway.example"
PATH = "/v1/sessions/abc/credential"
ALGORITHM = jwt.get_algorithm_by_name("ES256")


class Holder:
    """Somebody with a P-256 key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key = DeviceKey.from_public_key(self.private.public_key())

    def sign(self, signing_input: bytes) -> bytes:
        return ALGORITHM.sign(signing_input, self.private)


DEVICE, STRANGER = Holder(), Holder()
MINT = Mint(bytes(range(32)), ORIGIN)
ENTROPY = random.Random(1).randbytes
NONCE = MINT.nonces(now=START)[0]
ACCESS = MINT.access_token(DEVICE.key.thumbprint, now=START, entropy=ENTROPY)
REFRESH = MINT.refresh_token(
    DEVICE.key.thumbprint, "family-one", 3, until=START.replace(year=2027), now=START, entropy=ENTROPY
)


@dataclass(frozen=True)
class Forge:
    """How one kind of token is made and judged."""

    kind: Kind
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    sign: Callable[[bytes], bytes]
    judge: Callable[[Any], object]

    def token(self, header: Mapping[str, Any] | bytes | None = None, claims: Any = None, sign: Any = None) -> str:
        return jws(
            self.header if header is None else header, self.claims if claims is None else claims, sign or self.sign
        )


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def proof_claims() -> dict[str, Any]:
    return {"htm": "POST", "htu": f"{ORIGIN}{PATH}", "nonce": NONCE, "ath": ath(ACCESS), "iat": NOW, "jti": "j" * 24}


def report_claims() -> dict[str, Any]:
    facts = {"firewall.enabled": wire.Fact(True, "nft", NOW)}
    return wire.PostureReport("session-1", 3, "nonce-1", NOW, facts).to_json()


def judge_proof(token: Any) -> object:
    return MINT.verify_proof(token, method="POST", path=PATH, now=START, access_token=ACCESS)


def judge_proof_without_nonce(token: Any) -> object:
    """A gateway that has given no nonce takes no proof (row 24)."""
    expected = Expected("", "", ES256, access_token=ACCESS, method="POST", url=f"{ORIGIN}{PATH}")
    return verify(DPOP_PROOF, token, expected, None, now=START)


def body(token: Any) -> Any:
    return token.encode("utf-8", "replace") if isinstance(token, str) else token


@functools.cache
def forges() -> dict[str, Forge]:
    own = {"alg": "ES256", "jwk": dict(DEVICE.key.jwk)}
    named = {"alg": "ES256", "kid": DEVICE.key.thumbprint}
    (access_header, access_claims), (refresh_header, refresh_claims) = opened(ACCESS), opened(REFRESH)
    mint = lambda signing_input: ALGORITHM.sign(signing_input, MINT._private)  # noqa: E731
    return {
        "dpop": Forge(DPOP_PROOF, {"typ": "dpop+jwt", **own}, proof_claims(), DEVICE.sign, judge_proof),
        "access": Forge(
            ACCESS_TOKEN, access_header, access_claims, mint, lambda token: MINT.verify_access(token, now=START)
        ),
        "refresh": Forge(
            REFRESH_TOKEN, refresh_header, refresh_claims, mint, lambda token: MINT.verify_refresh(token, now=START)
        ),
        "report": Forge(
            REPORT,
            {"typ": wire.TYP_REPORT, **named},
            report_claims(),
            DEVICE.sign,
            lambda token: device.verify_report(body(token), DEVICE.key, now=START),
        ),
        "enrolment": Forge(
            ENROLMENT,
            {"typ": wire.TYP_ENROLMENT, **own},
            {"iat": NOW, "jti": "j" * 24, "name": "laptop"},
            DEVICE.sign,
            lambda token: device.verify_enrolment(body(token), now=START),
        ),
    }


def with_text(claims: Mapping[str, Any], name: str, text: str) -> bytes:
    """The claims as JSON in which one member's value is this text, which json.dumps would never write."""
    kept = {key: value for key, value in claims.items() if key != name}
    return f'{json.dumps(kept)[:-1]}, "{name}": {text}}}'.encode()
