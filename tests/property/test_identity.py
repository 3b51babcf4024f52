"""No mutated token verifies, and nothing that a stranger can say raises anything but the gateway's own errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from agent import wire
from agent.device_key import DeviceKey as AgentKey
from gateway.errors import GatewayError, Malformed, ProviderError, Unauthenticated
from gateway.identity import compact, device, strict_json
from gateway.identity.claim_rules import Expected
from gateway.identity.device_key import DeviceKey
from gateway.identity.discovery import Metadata
from gateway.identity.jwks import read_keys
from gateway.identity.login_state import LoginState, seal, unseal
from gateway.identity.verify import verify_id_token, verify_logout_token
from tests.sim.provider import (
    CLIENT,
    ISSUER,
    KEYS,
    LOGOUT_EVENT,
    START,
    TOKEN,
    LoginDesk,
    Provider,
    Signer,
    base64url,
    jws,
)

SIGNER = Signer("property", "ES256")
NOW = START.timestamp()
EXPECTED = Expected(ISSUER, CLIENT, frozenset({"ES256", "RS256"}), nonce="nonce-of-this-login")
HEADER = {"alg": "ES256", "kid": SIGNER.kid, "typ": "JWT"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": "sub-alice",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": EXPECTED.nonce,
    "groups": ["staff"],
}
ID_TOKENS = [jws(HEADER, {**CLAIMS, "sub": subject}, SIGNER.sign).encode() for subject in ("sub-alice", "sub-bob")]
LOGOUT_CLAIMS: dict[str, Any] = {
    **{name: CLAIMS[name] for name in ("iss", "aud", "sub", "iat", "exp")},
    "jti": "one",
    "sid": "sid-1",
    "events": {LOGOUT_EVENT: {}},
}
LOGOUT_TOKENS = [jws(HEADER, {**LOGOUT_CLAIMS, "sid": sid}, SIGNER.sign).encode() for sid in ("sid-1", "sid-2")]

ES256 = jwt.get_algorithm_by_name("ES256")
PRIVATE = ec.generate_private_key(ec.SECP256R1())
LAPTOP = AgentKey(PRIVATE)
DEVICE = DeviceKey.from_jwk(LAPTOP.jwk)
FACTS = {"firewall.enabled": wire.Fact(True, "nft", NOW)}
REPORTS = [
    LAPTOP.sign(wire.TYP_REPORT, wire.PostureReport("session", n, "nonce", NOW, FACTS).to_json(), now=NOW).encode()
    for n in (1, 2)
]

Judge = Callable[[bytes], object]


def examples(count: int) -> settings:
    """How many, and however long they take on a busy machine."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(call: Callable[[], Any], *errors: type[GatewayError]) -> tuple[Any, GatewayError | None]:
    """What `call` gives, or which of the allowed errors it raises. Any other error is the test's."""
    refusal: GatewayError | None = None
    try:
        return call(), None
    except errors as error:
        refusal = error
    assert str(refusal)
    return None, refusal


def judge_id_token(token: bytes) -> object:
    """As the token endpoint's answer comes: text, in which anything may stand."""
    key = SIGNER.key.public_key()
    return verify_id_token(token.decode("latin-1"), EXPECTED, lambda _kid, _alg: key, now=START)


def judge_logout_token(token: bytes) -> object:
    key = SIGNER.key.public_key()
    return verify_logout_token(token.decode("latin-1"), EXPECTED, lambda _kid, _alg: key, now=START)


def judge_report(body: bytes) -> object:
    return device.verify_report(body, DEVICE, now=START)


KINDS = pytest.mark.parametrize(
    ("judge", "honest"),
    [(judge_id_token, ID_TOKENS), (judge_logout_token, LOGOUT_TOKENS), (judge_report, REPORTS)],
    ids=["ID token", "logout token", "report"],
)

# mutations of a token that nobody signed again

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=True)
    | st.text(max_size=8)
    | st.sampled_from([ISSUER, CLIENT, NOW, "ES256", "none", "JWT"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
HEADER_NAMES = st.sampled_from(
    ["alg", "typ", "kid", "crit", "jwk", "jku", "x5c", "b64", "zip", "enc", "cty"]
) | st.text(max_size=4)
CLAIM_NAMES = st.sampled_from(
    [
        "iss",
        "aud",
        "azp",
        "sub",
        "iat",
        "exp",
        "nbf",
        "nonce",
        "at_hash",
        "auth_time",
        "jti",
        "sid",
        "events",
        "v",
        "session",
        "seq",
        "facts",
    ]
) | st.text(max_size=4)


def decoded(part: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(compact.base64url_decode(part))
    return members


@st.composite
def mutated(draw: st.DrawFn, honest: list[bytes]) -> bytes:
    """One honest token, broken in one to three places."""
    token = draw(st.sampled_from(honest))
    for _ in range(draw(st.integers(1, 3))):
        token = draw(st.sampled_from(MUTATIONS))(draw, token, honest)
    assume(token not in honest)
    return token


def swap_a_part(draw: st.DrawFn, token: bytes, honest: list[bytes]) -> bytes:
    parts, others = token.split(b"."), draw(st.sampled_from(honest)).split(b".")
    parts[draw(st.integers(0, len(parts) - 1))] = others[draw(st.integers(0, len(others) - 1))]
    return b".".join(parts)


def order_the_parts_anew(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    return b".".join(draw(st.permutations(token.split(b"."))))


def drop_or_repeat_a_part(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    parts = token.split(b".")
    return b".".join(part for part in parts for _ in range(draw(st.integers(0, 2))))


def flip_a_bit(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    assume(token)
    at, bit = draw(st.integers(0, len(token) - 1)), draw(st.integers(0, 7))
    return token[:at] + bytes([token[at] ^ 1 << bit]) + token[at + 1 :]


def flip_a_bit_of_what_is_encoded(draw: st.DrawFn, token: bytes, honest: list[bytes]) -> bytes:
    parts = token.split(b".")
    at = draw(st.integers(0, len(parts) - 1))
    try:
        inside = compact.base64url_decode(parts[at])
    except ValueError:
        return token
    parts[at] = base64url(flip_a_bit(draw, inside, honest)).encode()
    return b".".join(parts)


def replace_some_bytes(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    start, end = sorted((draw(st.integers(0, len(token))), draw(st.integers(0, len(token)))))
    return (
        token[:start] + draw(st.binary(max_size=12) | st.text("-_=.+/ \nA", max_size=4).map(str.encode)) + token[end:]
    )


def change_a_header_member(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    return change_a_member(draw, token, 0, HEADER_NAMES)


def change_a_claim(draw: st.DrawFn, token: bytes, _honest: list[bytes]) -> bytes:
    return change_a_member(draw, token, 1, CLAIM_NAMES)


def change_a_member(draw: st.DrawFn, token: bytes, at: int, names: st.SearchStrategy[str]) -> bytes:
    """Give a member another value, leave it out, say it twice, or write the same object in another way."""
    parts = token.split(b".")
    try:
        members = decoded(parts[at])
    except (ValueError, RecursionError, IndexError):
        return token
    assume(isinstance(members, dict))
    name, value = draw(names), draw(JSON)
    text = draw(
        st.sampled_from(
            [
                json.dumps({**members, name: value}),
                json.dumps({key: kept for key, kept in members.items() if key != name}),
                json.dumps(members)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}",
                json.dumps(members, indent=1),
                json.dumps(dict(reversed(members.items()))),
            ]
        )
    )
    parts[at] = base64url(text.encode()).encode()
    return b".".join(parts)


MUTATIONS = [
    swap_a_part,
    order_the_parts_anew,
    drop_or_repeat_a_part,
    flip_a_bit,
    flip_a_bit_of_what_is_encoded,
    replace_some_bytes,
    change_a_header_member,
    change_a_claim,
]


@KINDS
def test_honest_tokens_verify(judge: Judge, honest: list[bytes]) -> None:
    for token in honest:
        assert judge(token)


@KINDS
@given(st.data())
@examples(2000)
def test_no_mutated_token_verifies(judge: Judge, honest: list[bytes], data: st.DataObject) -> None:
    token = data.draw(mutated(honest))
    with pytest.raises((Unauthenticated, Malformed)):
        judge(token)


# tokens that the right key signed, with anything in them


@given(name=CLAIM_NAMES, value=JSON, more=st.dictionaries(CLAIM_NAMES, JSON, max_size=2))
@examples(500)
def test_an_id_token_with_any_claims_gives_a_login_or_one_of_our_errors(
    name: str, value: Any, more: dict[str, Any]
) -> None:
    claims = {**CLAIMS, **more, name: value}
    token = jws(HEADER, claims, SIGNER.sign).encode()
    verified, refusal = attempt(lambda: judge_id_token(token), Unauthenticated)
    if refusal is None:
        assert verified.issuer == claims["iss"] == ISSUER
        assert claims["aud"] in (CLIENT, [CLIENT])
        assert claims["nonce"] == EXPECTED.nonce


@given(name=CLAIM_NAMES, value=JSON, more=st.dictionaries(CLAIM_NAMES, JSON, max_size=2))
@examples(500)
def test_a_logout_token_with_any_claims_gives_a_logout_or_one_of_our_errors(
    name: str, value: Any, more: dict[str, Any]
) -> None:
    claims = {**LOGOUT_CLAIMS, **more, name: value}
    token = jws(HEADER, claims, SIGNER.sign).encode()
    verified, refusal = attempt(lambda: judge_logout_token(token), Malformed)
    if refusal is None:
        assert (verified.issuer, verified.subject, verified.sid) == (ISSUER, claims.get("sub"), claims.get("sid"))
        assert set(claims["events"]) == {LOGOUT_EVENT}
        assert "nonce" not in claims


@given(st.dictionaries(HEADER_NAMES, JSON, max_size=2))
@examples(500)
def test_an_id_token_with_any_header_gives_a_login_or_one_of_our_errors(more: dict[str, Any]) -> None:
    token = jws({**HEADER, **more}, CLAIMS, SIGNER.sign).encode()
    _, refusal = attempt(lambda: judge_id_token(token), Unauthenticated)
    if refusal is None:
        assert not {"crit", "jwk", "jku", "x5c", "b64", "zip", "enc", "cty"} & set(more)
        assert more.get("alg", "ES256") == "ES256"


REPORT = wire.PostureReport("session", 1, "nonce", NOW, FACTS).to_json()
FACT_MEMBERS = st.dictionaries(st.sampled_from(["value", "source", "observed_at", "absent"]), JSON)


@given(
    more=st.dictionaries(CLAIM_NAMES, JSON, max_size=2),
    facts=st.none() | st.dictionaries(st.text(max_size=4), JSON | FACT_MEMBERS, max_size=3),
)
@examples(1000)
def test_a_signed_report_with_any_members_is_read_or_refused(
    more: dict[str, Any], facts: dict[str, Any] | None
) -> None:
    claims = {**REPORT, **more, **({"facts": facts} if facts is not None else {})}
    header = {"alg": "ES256", "typ": wire.TYP_REPORT, "kid": LAPTOP.id}
    body = jws(header, claims, lambda signed: ES256.sign(signed, PRIVATE)).encode()
    verified, refusal = attempt(lambda: device.verify_report(body, DEVICE, now=START), Malformed, Unauthenticated)
    if refusal is None:
        report = verified.report
        assert all(isinstance(fact, wire.Fact) for fact in report.facts.values())
        assert (report.session, report.sequence) == (claims["session"], claims["seq"])


@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "d"]), JSON))
@examples(300)
def test_any_key_in_an_enrolment_is_read_or_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        DeviceKey.from_jwk(jwk)


# what the provider says


@given(st.dictionaries(st.sampled_from(sorted(Metadata.__slots__)) | st.text(max_size=4), JSON, max_size=4), JSON)
@examples(500)
def test_any_metadata_is_believed_or_refused(more: dict[str, Any], lists: Any) -> None:
    members = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/a",
        "token_endpoint": f"{ISSUER}/t",
        "jwks_uri": f"{ISSUER}/k",
        "id_token_signing_alg_values_supported": lists,
        **more,
    }
    found, refusal = attempt(lambda: Metadata.read(members, ISSUER), ProviderError)
    if refusal is None:
        assert found.jwks_uri.startswith("https://")


@given(
    st.dictionaries(st.sampled_from(["keys"]), JSON)
    | st.lists(
        st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "alg", "use", "key_ops"]), JSON)
        | st.dictionaries(st.sampled_from(["crv", "x", "y", "kid", "alg", "use", "key_ops"]), JSON).map(
            lambda changes: {**SIGNER.jwk, **changes}
        ),
        max_size=3,
    ).map(lambda keys: {"keys": keys})
)
@examples(500)
def test_any_key_set_is_read_or_refused(members: dict[str, Any]) -> None:
    keys, refusal = attempt(lambda: read_keys(members), ProviderError)
    if refusal is None:
        assert keys
        assert all(key.algorithms for key in keys)


ANSWERS = (
    st.binary(max_size=64)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(
            ["error", "error_description", "id_token", "access_token", "token_type", "expires_in", "expires_at"]
        ),
        JSON,
    ).map(lambda value: json.dumps(value).encode())
)


@given(st.sampled_from([TOKEN, KEYS]), ANSWERS, st.integers(200, 599))
@examples(250)
def test_any_answer_of_an_endpoint_ends_a_login_with_one_of_our_errors(path: str, body: bytes, status: int) -> None:
    provider = Provider(answers={path: lambda _: httpx2.Response(status, content=body)})
    with pytest.raises(GatewayError):
        LoginDesk(provider).log_in()


@given(st.dictionaries(st.sampled_from(["code", "state", "iss", "error"]) | st.text(max_size=4), st.text(max_size=8)))
@examples(300)
def test_any_answer_at_the_callback_without_our_state_is_refused(query: dict[str, str]) -> None:
    desk = LoginDesk(Provider())
    with pytest.raises(Unauthenticated) as refusal:
        desk.finish(query, desk.begin().state)
    assert refusal.value.code == "login-state"


# the readers below all of them


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"a": ' * 100_000)
@examples(1000)
def test_any_bytes_are_an_object_or_a_value_error(data: bytes) -> None:
    try:
        members = strict_json.loads_object(data)
    except ValueError:
        return
    assert json.loads(data) == members


@given(st.binary(max_size=200))
@examples(1000)
def test_bytes_have_one_text_and_a_text_one_meaning(data: bytes) -> None:
    text = base64url(data)
    assert compact.base64url_decode(text) == data == compact.base64url_decode(text.encode())
    try:
        other = compact.base64url_decode(data)
    except ValueError:
        return
    assert compact.base64url(other).encode() == data


@given(st.text(max_size=200) | st.binary(max_size=200).map(base64url))
@examples(500)
def test_no_cookie_that_we_did_not_seal_opens(cookie: str) -> None:
    with pytest.raises(Unauthenticated):
        unseal(cookie, bytes(32), now=START)


@given(st.text(), st.text(), st.binary(min_size=12, max_size=12))
@examples(200)
def test_whatever_is_sealed_comes_back(purpose: str, verifier: str, nonce: bytes) -> None:
    state = LoginState(purpose, "s" * 43, "n" * 43, verifier, START)
    cookie = seal(state, bytes(32), entropy=lambda _size: nonce)
    try:
        assert unseal(cookie, bytes(32), now=START) == state
    except Unauthenticated:
        assert len(cookie) > 4096
