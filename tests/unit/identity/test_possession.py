"""The client's key and its proofs: what RFC 9449 and RFC 7523 ask of them, and what a provider can do with its nonce."""

from __future__ import annotations

import random
from datetime import timedelta

import httpx2
import jwt
import pytest

from gateway.identity.client_key import ClientKey
from gateway.identity.possession import LONGEST_NONCE, MOST_ORIGINS, Possession, Prover
from tests.sim.provider import CLIENT, ISSUER, START

URL = f"{ISSUER}/userinfo"


@pytest.fixture
def prover() -> Prover:
    return Prover(ClientKey(bytes(32)), random.Random(1).randbytes)


def said(prover: Prover, proof: str) -> dict[str, object]:
    key = jwt.PyJWK.from_dict(dict(prover.jwk)).key
    claims: dict[str, object] = jwt.decode(proof, key, ["ES256"], options={"verify_iat": False})
    return claims


def test_the_same_seed_gives_the_same_key_and_another_seed_another() -> None:
    assert ClientKey(bytes(32)).jwk == ClientKey(bytes(32)).jwk
    assert ClientKey(bytes(32)).thumbprint != ClientKey(bytes(31) + b"\1").thumbprint


def test_nothing_private_is_published(prover: Prover) -> None:
    assert set(prover.jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert set(jwt.get_unverified_header(prover.proof("GET", URL, now=START))["jwk"]) == {"kty", "crv", "x", "y"}


def test_a_proof_is_for_one_request(prover: Prover) -> None:
    first, second = (said(prover, prover.proof("GET", f"{URL}?a=b#c", now=START)) for _ in range(2))
    assert (first["htm"], first["htu"], first["iat"]) == ("GET", URL, int(START.timestamp()))
    assert first["jti"] != second["jti"]
    assert "ath" not in first
    assert "nonce" not in first


def test_an_assertion_is_for_the_issuer_and_short(prover: Prover) -> None:
    form = prover.assertion(CLIENT, ISSUER, now=START)
    key = jwt.PyJWK.from_dict(dict(prover.jwk)).key
    claims = jwt.decode(form["client_assertion"], key, ["ES256"], audience=ISSUER, options={"verify_exp": False})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT, CLIENT, ISSUER)
    assert claims["exp"] - claims["iat"] <= timedelta(minutes=1).total_seconds()
    assert form["client_assertion"] != prover.assertion(CLIENT, ISSUER, now=START)["client_assertion"]


def test_a_nonce_is_for_the_origin_that_gave_it(prover: Prover) -> None:
    prover.learn(URL, {"dpop-nonce": "n"})
    assert said(prover, prover.proof("GET", f"{ISSUER}/token", now=START))["nonce"] == "n"
    assert "nonce" not in said(prover, prover.proof("GET", "https://api.example/token", now=START))


@pytest.mark.parametrize("nonce", ["", "n" * (LONGEST_NONCE + 1)])
def test_a_nonce_that_is_none_is_not_kept(prover: Prover, nonce: str) -> None:
    prover.learn(URL, {"dpop-nonce": nonce})
    assert "nonce" not in said(prover, prover.proof("GET", URL, now=START))


def test_the_nonces_of_many_origins_are_bounded_and_the_known_go_on(prover: Prover) -> None:
    for number in range(100):
        prover.learn(f"https://{number}.example/", {"dpop-nonce": "old"})
    prover.learn("https://0.example/", {"dpop-nonce": "new"})
    nonces = [said(prover, prover.proof("GET", f"https://{n}.example/", now=START)).get("nonce") for n in range(100)]
    assert nonces == ["new", *["old"] * (MOST_ORIGINS - 1), *[None] * (100 - MOST_ORIGINS)]


def test_a_resource_that_always_wants_another_nonce_is_asked_twice(prover: Prover) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.headers["dpop"], request.headers["authorization"]))
        headers = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": f"n{len(asked)}"}
        return httpx2.Response(401, headers=headers)

    auth = Possession(prover, now=START, access_token="token")
    answer = httpx2.Client(transport=httpx2.MockTransport(refuse)).get(URL, auth=auth)
    assert (answer.status_code, len(asked)) == (401, 2)
    assert [said(prover, proof).get("nonce") for proof, _ in asked] == [None, "n1"]
    assert {authorization for _, authorization in asked} == {"DPoP token"}
