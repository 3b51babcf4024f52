"""What an agent signs: the proof, its header, its clock, and every member of a posture report."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from agent import device_key, wire
from agent.wire import Fact, PostureReport
from gateway.errors import Malformed, Refused, Unauthenticated
from gateway.identity import device
from gateway.identity.device import MOST_FACTS
from gateway.identity.device_key import DeviceKey
from gateway.identity.kinds import PROOF_AGE
from tests.sim.provider import START, base64url, jws

NOW = START.timestamp()
SECOND = timedelta(seconds=1)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2, section 2.4.2)."""

EXAMPLE = {
    "kty": "EC",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    "crv": "P-256",
}
"""The key of the examples in RFC 9449; its thumbprint (RFC 7638) stands there in section 6.1."""


class Laptop:
    """The agent's own device key, and the same key by hand for what no agent signs."""

    def __init__(self, folder: Path) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.agent = device_key.DeviceKey(self.private)
        self.key = DeviceKey.from_jwk(self.agent.jwk)

    def sign(self, signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(signing_input, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def header(self, typ: str) -> dict[str, Any]:
        named = {"jwk": self.agent.jwk} if typ in wire.OWN_KEY else {"kid": self.agent.id}
        return {"alg": "ES256", "typ": typ, **named}

    def body(self, kind: str, claims: Mapping[str, Any] | bytes, **header: Any) -> bytes:
        """A signed body of a `TYP_*`, its header with these members changed, or left out with `...`."""
        given = {name: value for name, value in {**self.header(kind), **header}.items() if value is not ...}
        return jws(given, claims, self.sign).encode()

    def report(self, **changes: Any) -> bytes:
        """An honest report with these members changed, or left out with `...`."""
        claims = {**honest_report(), **changes}
        return self.body(wire.TYP_REPORT, {name: value for name, value in claims.items() if value is not ...})

    def fact(self, **changes: Any) -> bytes:
        members = {"value": True, "source": "nft", "observed_at": NOW, **changes}
        return self.report(facts={"firewall": {name: value for name, value in members.items() if value is not ...}})

    def judge(self, body: bytes, typ: str = wire.TYP_SESSION) -> Any:
        if typ == wire.TYP_ENROLMENT:
            return device.verify_enrolment(body, now=START)
        if typ == wire.TYP_REDEMPTION:
            return device.verify_redemption(body, now=START)
        if typ == wire.TYP_REPORT:
            return device.verify_report(body, self.key, now=START)
        return device.verify_device(body, self.key, typ=typ, now=START)


def honest_report() -> dict[str, Any]:
    facts = {"firewall.enabled": Fact(True, "nft", NOW), "disk.encrypted": Fact(None, "lsblk", NOW, "no such tool")}
    return PostureReport("session-1", 3, "nonce-1", NOW, facts).to_json()


TYPES = (
    wire.TYP_ENROLMENT,
    wire.TYP_CONFIRM,
    wire.TYP_SESSION,
    wire.TYP_REPORT,
    wire.TYP_ASSERTION,
    wire.TYP_REDEMPTION,
)


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path)


def claims_of(typ: str) -> dict[str, Any]:
    return honest_report() if typ == wire.TYP_REPORT else {"iat": NOW, "jti": "j" * 24, "about": typ}


def refused(laptop: Laptop, body: bytes, kind: type[Refused], code: str, typ: str = wire.TYP_SESSION) -> str:
    with pytest.raises(Refused) as refusal:
        laptop.judge(body, typ)
    assert (type(refusal.value), refusal.value.code) == (kind, code), str(refusal.value)
    return str(refusal.value)


# honest


@pytest.mark.parametrize("typ", TYPES)
def test_what_the_agent_signs_is_accepted(laptop: Laptop, typ: str) -> None:
    body = laptop.agent.sign(typ, claims_of(typ), now=NOW).encode()
    verified = laptop.judge(body, typ)
    assert (verified.device, verified.issued_at) == (laptop.agent.id, START)


@pytest.mark.parametrize("typ", TYPES)
def test_what_the_tests_sign_by_hand_is_accepted_too(laptop: Laptop, typ: str) -> None:
    assert laptop.judge(laptop.body(typ, claims_of(typ)), typ).device == laptop.agent.id


def test_a_report_is_read_as_it_was_written(laptop: Laptop) -> None:
    assert laptop.judge(laptop.report(), wire.TYP_REPORT).report.to_json() == honest_report()


def test_a_report_may_have_no_facts_and_unknown_members(laptop: Laptop) -> None:
    assert laptop.judge(laptop.report(facts={}), wire.TYP_REPORT).report.facts == {}
    assert laptop.judge(laptop.report(unknown={"a": [1]}), wire.TYP_REPORT).report.sequence == 3


def test_a_fact_that_is_absent_has_no_value_whatever_it_says(laptop: Laptop) -> None:
    report = laptop.judge(laptop.fact(value=True, absent="the tool is missing"), wire.TYP_REPORT).report
    assert report.facts["firewall"] == Fact(None, "nft", NOW, "the tool is missing")


# names


def test_a_thumbprint_is_that_of_rfc_7638() -> None:
    assert DeviceKey.from_jwk(EXAMPLE).thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_a_key_has_one_name_however_its_members_are_ordered() -> None:
    turned = dict(sorted(EXAMPLE.items(), reverse=True))
    assert DeviceKey.from_jwk(turned).thumbprint == DeviceKey.from_jwk(EXAMPLE).thumbprint
    assert DeviceKey.from_jwk(turned).jwk == dict(sorted(EXAMPLE.items()))


def test_the_agent_and_the_gateway_give_a_key_the_same_name(laptop: Laptop) -> None:
    assert laptop.agent.id == laptop.key.thumbprint
    assert device.device_id_of(laptop.body(wire.TYP_SESSION, {})) == laptop.agent.id


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "RSA"},
        {"kty": "ec"},
        {"kty": None},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": ["P-256"]},
        {"d": "AQAB"},
        {"kid": "laptop"},
        {"alg": "ES256"},
        {"x": ...},
        {"y": ...},
        {"x": EXAMPLE["y"]},
        {"x": EXAMPLE["x"] + "="},
        {"x": EXAMPLE["x"][:-1] + "t"},
        {"x": EXAMPLE["x"] + "AAAA"},
        {"x": "AAAA" + EXAMPLE["x"]},
        {"x": EXAMPLE["x"].replace("-", "+")},
        {"x": base64url(b"\xff" * 32)},
        {"x": "A" * 43, "y": "A" * 43},
        {"x": 7},
        {"x": ""},
        {"x": None},
        {"x": "ä" * 43},
        {"y": [EXAMPLE["y"]]},
    ],
    ids=str,
)
def test_a_key_that_is_no_plain_p_256_point_is_refused(laptop: Laptop, changes: dict[str, Any]) -> None:
    jwk = {name: value for name, value in {**EXAMPLE, **changes}.items() if value is not ...}
    with pytest.raises(Malformed) as refusal:
        DeviceKey.from_jwk(jwk)
    assert refusal.value.code == "device-key"
    refused(
        laptop,
        laptop.body(wire.TYP_ENROLMENT, claims_of(wire.TYP_ENROLMENT), jwk=jwk),
        Malformed,
        "device-key",
        wire.TYP_ENROLMENT,
    )


@pytest.mark.parametrize("jwk", [None, "key", 7, [], ["kty"]], ids=str)
def test_an_enrolment_whose_key_is_no_object_is_refused(laptop: Laptop, jwk: Any) -> None:
    body = laptop.body(wire.TYP_ENROLMENT, claims_of(wire.TYP_ENROLMENT), jwk=jwk)
    assert "jwk must be" in refused(laptop, body, Malformed, "device-key", wire.TYP_ENROLMENT)


def test_an_enrolment_with_a_key_that_the_sender_does_not_have_is_refused(laptop: Laptop) -> None:
    body = laptop.body(wire.TYP_ENROLMENT, claims_of(wire.TYP_ENROLMENT), jwk=EXAMPLE)
    refused(laptop, body, Unauthenticated, "signature", wire.TYP_ENROLMENT)


@pytest.mark.parametrize(
    "kid", [None, 7, "", "laptop", "a" * 42, "a" * 44, "ä" * 43, "a/" * 21 + "a", ["a" * 43], "a" * 42 + "\n"]
)
def test_a_device_id_that_is_no_thumbprint_is_refused_before_it_is_looked_up(laptop: Laptop, kid: Any) -> None:
    with pytest.raises(Malformed, match="kid must be the device id"):
        device.device_id_of(laptop.body(wire.TYP_SESSION, {}, kid=kid))


# the proof


def test_the_proof_of_another_device_is_refused(laptop: Laptop, tmp_path: Path) -> None:
    another = Laptop(tmp_path)
    body = another.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION))
    assert "kid is not the device" in refused(laptop, body, Unauthenticated, "device-unknown")
    forged = another.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION), kid=laptop.agent.id)
    refused(laptop, forged, Unauthenticated, "signature")


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(64),
        b"\xff" * 64,
        bytes(63),
        bytes(65),
        ORDER.to_bytes(32, "big") * 2,
        bytes(32) + (1).to_bytes(32, "big"),
        (1).to_bytes(32, "big") + bytes(32),
    ],
    ids=["empty", "zero", "ones", "short", "long", "order", "r zero", "s zero"],
)
def test_a_signature_that_is_none_is_refused(laptop: Laptop, signature: bytes) -> None:
    body = jws(laptop.header(wire.TYP_SESSION), claims_of(wire.TYP_SESSION), lambda _: signature)
    refused(laptop, body.encode(), Unauthenticated, "signature")


def test_a_signature_in_der_is_refused(laptop: Laptop) -> None:
    der = lambda signing_input: laptop.private.sign(signing_input, ec.ECDSA(SHA256()))  # noqa: E731
    body = jws(laptop.header(wire.TYP_SESSION), claims_of(wire.TYP_SESSION), der)
    refused(laptop, body.encode(), Unauthenticated, "signature")


def test_every_flipped_bit_of_the_signature_is_noticed(laptop: Laptop) -> None:
    body = laptop.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION))
    signing_input, _, _ = body.rpartition(b".")
    signature = laptop.sign(signing_input)
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(laptop, signing_input + b"." + base64url(bytes(flipped)).encode(), Unauthenticated, "signature")


def test_the_other_signature_that_anybody_can_make_proves_the_same_jti(laptop: Laptop) -> None:
    """ECDSA is malleable: (r, n - s) holds too. So what is used up is the `jti` and never the text of a token."""
    body = laptop.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION))
    signing_input, _, _ = body.rpartition(b".")
    signature = laptop.sign(signing_input)
    other = signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    twin = laptop.judge(signing_input + b"." + base64url(other).encode())
    assert twin.claims == laptop.judge(body).claims


@pytest.mark.parametrize("typ", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_a_body_of_one_kind_is_none_of_another(laptop: Laptop, typ: str, other: str) -> None:
    body = laptop.body(typ, claims_of(typ))
    if typ == other:
        assert laptop.judge(body, other).device == laptop.agent.id
    else:
        refused(laptop, body, Malformed, "signature-header", other)


@pytest.mark.parametrize(
    "header",
    [
        {"crit": []},
        {"crit": ["exp"], "exp": 1},
        {"jku": "https://evil.example/keys"},
        {"x5c": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"jwk": EXAMPLE},
        {"iat": NOW},
        {"": ""},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "es256"},
        {"alg": None},
        {"alg": ["ES256"]},
        {"alg": ...},
        {"typ": ...},
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "sallyport-session"},
        {"typ": "application/sallyport-session+jwt"},
        {"typ": wire.TYP_SESSION.upper()},
        {"typ": [wire.TYP_SESSION]},
        {"kid": ...},
    ],
    ids=str,
)
def test_a_header_is_exactly_what_the_contract_says(laptop: Laptop, header: dict[str, Any]) -> None:
    body = laptop.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION), **header)
    refused(laptop, body, Malformed, "signature-header")


@pytest.mark.parametrize("kid", [None, 7, "", ["a"], {"a": 1}, "a" * 43])
def test_a_kid_that_is_not_the_devices_is_refused(laptop: Laptop, kid: Any) -> None:
    body = laptop.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION), kid=kid)
    refused(laptop, body, Unauthenticated, "device-unknown")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"",
        lambda body: b".",
        lambda body: b"..",
        lambda body: b"...",
        lambda body: body[:-1] + b"=",
        lambda body: body + b"=",
        lambda body: body + b"\n",
        lambda body: b" " + body,
        lambda body: body + b".e30",
        lambda body: body.rpartition(b".")[0],
        lambda body: body.replace(b".", b"", 1),
        lambda body: b"\xff" + body,
        lambda body: b"eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ." + body.partition(b".")[2],
        lambda body: b"W10." + body.partition(b".")[2],
        lambda body: b"A" * 5000 + b"." + body.partition(b".")[2],
        lambda body: body + b"A" * 4096,
        lambda body: body * 2000,
        lambda body: b"{" + body + b"}",
    ],
)
def test_a_body_that_is_no_compact_jws_is_refused(laptop: Laptop, change: Callable[[bytes], bytes]) -> None:
    body = change(laptop.body(wire.TYP_SESSION, claims_of(wire.TYP_SESSION)))
    refused(laptop, body, Malformed, "signature-form")
    with pytest.raises(Malformed, match="compact JWS"):
        device.device_id_of(body)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b"text", b'{"iat": 1, "iat": 2}', b'{"iat": NaN}', b'{"a": "\\u0000"}', b"\xff", b"[" * 9000],
    ids=str,
)
def test_claims_that_are_no_plain_json_object_are_refused(laptop: Laptop, payload: bytes) -> None:
    assert "payload" in refused(laptop, laptop.body(wire.TYP_SESSION, payload), Malformed, "claims")


# the clock


@pytest.mark.parametrize("typ", TYPES)
@pytest.mark.parametrize("way", [1, -1])
def test_a_device_clock_may_be_a_minute_off_and_not_more(laptop: Laptop, typ: str, way: int) -> None:
    at = (START + way * PROOF_AGE).timestamp()
    assert laptop.judge(laptop.body(typ, {**claims_of(typ), "iat": at}), typ).issued_at.timestamp() == at
    late = laptop.body(typ, {**claims_of(typ), "iat": at + way})
    assert "iat is 61 s from the gateway's clock" in refused(laptop, late, Unauthenticated, "clock", typ)


@pytest.mark.parametrize("iat", [..., None, True, str(NOW), [NOW], -1, 253_402_300_800, 1e300, {"s": NOW}], ids=str)
@pytest.mark.parametrize("typ", [wire.TYP_SESSION, wire.TYP_REPORT])
def test_a_time_that_is_none_is_named(laptop: Laptop, typ: str, iat: Any) -> None:
    claims = {name: value for name, value in {**claims_of(typ), "iat": iat}.items() if value is not ...}
    assert (
        refused(laptop, laptop.body(typ, claims), Malformed, "claims", typ)
        == "iat must be a number of seconds since 1970"
    )


@pytest.mark.parametrize("iat", [0, 253_402_300_799, 253_402_300_798.9])
def test_a_time_at_the_end_of_the_calendar_is_only_a_wrong_clock(laptop: Laptop, iat: float) -> None:
    refused(laptop, laptop.body(wire.TYP_SESSION, {"iat": iat, "jti": "j" * 22}), Unauthenticated, "clock")


# the jti


@pytest.mark.parametrize("typ", [typ for typ in TYPES if typ != wire.TYP_REPORT])
@pytest.mark.parametrize("jti", [..., None, "", "j" * 21, "j" * 65, 7, ["j" * 22], "ä" * 22], ids=str)
def test_a_proof_without_128_random_bits_is_refused(laptop: Laptop, typ: str, jti: Any) -> None:
    claims = {name: value for name, value in {**claims_of(typ), "jti": jti}.items() if value is not ...}
    assert "jti must be" in refused(laptop, laptop.body(typ, claims), Malformed, "claims", typ)


@pytest.mark.parametrize("length", [22, 64])
def test_a_jti_has_from_22_to_64_characters(laptop: Laptop, length: int) -> None:
    body = laptop.body(wire.TYP_SESSION, {"iat": NOW, "jti": "j" * length})
    assert laptop.judge(body).claims["jti"] == "j" * length


# the report

OBJECT_OF_FACTS = f"facts must be an object of at most {MOST_FACTS} facts"
TEXT = "must be a text of 1 to 128 characters"


@pytest.mark.parametrize(
    ("member", "values", "complaint"),
    [
        ("v", [..., None, 0, 2, "1", True, [1]], "v must be 1"),
        ("session", [..., None, "", 7, "s" * 129, ["s"]], f"session {TEXT}"),
        ("seq", [..., None, 0, -1, 1.5, 1.0, "1", True, [1]], "seq must be an integer from 1"),
        ("nonce", [..., None, "", 7, "n" * 129, {}], f"nonce {TEXT}"),
        ("facts", [..., None, [], "facts", 7, {str(n): {} for n in range(MOST_FACTS + 1)}], OBJECT_OF_FACTS),
    ],
)
def test_a_malformed_report_names_the_member(laptop: Laptop, member: str, values: list[Any], complaint: str) -> None:
    code = "report" if member == "facts" else "claims"
    for value in values:
        said = refused(laptop, laptop.report(**{member: value}), Malformed, code, wire.TYP_REPORT)
        assert said.startswith(complaint), value


@pytest.mark.parametrize(
    ("member", "values", "complaint"),
    [
        ("source", [..., None, 7, ["nft"]], "facts.firewall: source must be a string"),
        ("observed_at", [..., None, True, "now", [NOW]], "facts.firewall: observed_at must be Unix time"),
        ("observed_at", [-1, 253_402_300_800, 1e300], "facts.firewall.observed_at must be Unix time in seconds"),
        ("absent", [7, True, [], {}], "facts.firewall: absent must be a string"),
    ],
)
def test_a_malformed_fact_names_itself_and_the_member(
    laptop: Laptop, member: str, values: list[Any], complaint: str
) -> None:
    for value in values:
        said = refused(laptop, laptop.fact(**{member: value}), Malformed, "report", wire.TYP_REPORT)
        assert said.startswith(complaint), value


@pytest.mark.parametrize("fact", [None, True, 7, "on", ["on"]], ids=str)
def test_a_fact_that_is_no_object_is_named(laptop: Laptop, fact: Any) -> None:
    body = laptop.report(facts={"fine": {"value": 1, "source": "x", "observed_at": 0}, "firewall": fact})
    assert refused(laptop, body, Malformed, "report", wire.TYP_REPORT) == "facts.firewall must be an object"


@pytest.mark.parametrize("name", ["", "f" * 129])
def test_a_fact_without_a_bearable_name_is_refused(laptop: Laptop, name: str) -> None:
    body = laptop.report(facts={name: {"value": 1, "source": "x", "observed_at": 0}})
    assert "a fact's name" in refused(laptop, body, Malformed, "claims", wire.TYP_REPORT)


@pytest.mark.parametrize("changes", [{"seq": 1}, {"session": "s" * 128}, {"nonce": "n"}, {"nonce": "n" * 128}], ids=str)
def test_a_report_is_read_at_its_bounds(laptop: Laptop, changes: dict[str, Any]) -> None:
    report = laptop.judge(laptop.report(**changes), wire.TYP_REPORT).report
    assert report.to_json() == {**honest_report(), **changes}


def test_as_many_facts_as_allowed_are_read(laptop: Laptop) -> None:
    facts = {f"fact-{n}": {"value": [n], "source": "x", "observed_at": NOW} for n in range(MOST_FACTS)}
    assert len(laptop.judge(laptop.report(facts=facts), wire.TYP_REPORT).report.facts) == MOST_FACTS


def test_a_report_of_200_facts_is_read_whatever_their_values(laptop: Laptop) -> None:
    values: list[Any] = [None, True, 0, -1.5, "text", [], {}, ["a", {"b": None}], "ä☃𐍈", 2**53 - 1]
    given = random.Random(1).choices(values, k=200)
    facts = {f"fact-{n}": {"value": value, "source": "x", "observed_at": NOW} for n, value in enumerate(given)}
    read = laptop.judge(laptop.report(facts=facts), wire.TYP_REPORT).report.facts
    assert json.dumps([read[f"fact-{n}"].value for n in range(200)]) == json.dumps(given)
