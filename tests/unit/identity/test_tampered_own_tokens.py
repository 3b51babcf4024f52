"""The rows T-01 to T-44 on the gateway's other consumers: DPoP proof, access and refresh token, report, enrolment.

Each form of a row changes an honest token in one place, and is refused by the check that it aims at. The rows on ID tokens,
logout tokens and security events stand in their own files.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import Refused
from gateway.identity.claim_rules import Broken
from tests.sim.provider import Signer, base64url, hs256, jws
from tests.unit.identity.forge import DEVICE, NOW, STRANGER, Forge, forges, judge_proof_without_nonce, with_text

YEAR = 365 * 86400
ALL = ("dpop", "access", "refresh", "report", "enrolment")
NAMED, OWN, TOKENS = ("access", "refresh", "report"), ("dpop", "enrolment"), ("access", "refresh")
Change = Callable[[Forge], Any]


@dataclass(frozen=True)
class Row:
    name: str
    check: str | tuple[str, ...]
    change: Change
    kinds: tuple[str, ...] = ALL


def header(name: str, check: str, kinds: tuple[str, ...] = ALL, **members: Any) -> Row:
    return Row(name, check, lambda forge: forge.token(header={**forge.header, **members}), kinds)


def claims(name: str, check: str, kinds: tuple[str, ...], **members: Any) -> Row:
    return Row(name, check, lambda forge: forge.token(claims={**forge.claims, **members}), kinds)


def without(name: str, check: str, kinds: tuple[str, ...], claim: str) -> Row:
    kept: Change = lambda forge: forge.token(claims={k: v for k, v in forge.claims.items() if k != claim})  # noqa: E731
    return Row(name, check, kept, kinds)


def text(name: str, check: str, kinds: tuple[str, ...], claim: str, value: str) -> Row:
    return Row(name, check, lambda forge: forge.token(claims=with_text(forge.claims, claim, value)), kinds)


def unsigned(algorithm: str) -> Change:
    return lambda forge: forge.token(header={**forge.header, "alg": algorithm}, sign=lambda _: b"")


def symmetric(secret: bytes) -> Change:
    return lambda forge: forge.token(header={**forge.header, "alg": "HS256"}, sign=hs256(secret))


def signature(change: Callable[[str], str]) -> Change:
    def changed(forge: Forge) -> str:
        head, _, sign = forge.token().rpartition(".")
        return f"{head}.{change(sign)}"

    return changed


def as_other_algorithm(algorithm: str) -> Change:
    return lambda forge: forge.token(header={**forge.header, "alg": algorithm}, sign=Signer("x", algorithm).sign)


PUBLIC = DEVICE.private.public_key()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
JWK, STRANGERS = dict(DEVICE.key.jwk), dict(STRANGER.key.jwk)
OTHER = STRANGER.key.thumbprint

ROWS = (
    Row("T-01-alg-none", "algorithm", unsigned("none")),
    Row("T-02-alg-none-signed", "algorithm", lambda forge: forge.token(header={**forge.header, "alg": "none"})),
    Row("T-03-alg-nOnE", "algorithm", unsigned("nOnE")),
    Row("T-03-alg-NONE", "algorithm", unsigned("NONE")),
    header("T-03-alg-null", "algorithm", alg=None),
    header("T-03-alg-list", "algorithm", alg=["ES256"]),
    Row("T-04-hs256-with-pem", "algorithm", symmetric(PEM)),
    Row("T-04-hs256-with-der", "algorithm", symmetric(DER)),
    Row("T-04-hs256-with-jwk", "algorithm", symmetric(json.dumps(JWK).encode())),
    Row("T-04-hs256-with-bom-and-pem", "algorithm", symmetric(b"\xef\xbb\xbf" + PEM)),
    Row("T-05-hs256-with-a-secret", "algorithm", symmetric(b"a secret of the usual length")),
    Row("T-06-signature-stripped", "signature", signature(lambda _: "")),
    Row("T-06-signature-truncated", ("signature", "malformed"), signature(lambda text: text[:-4])),
    Row("T-06-signature-flipped", "signature", signature(lambda text: ("A" if text[9] != "A" else "B").join((text[:9], text[10:])))),
    Row("T-06-signature-padded", "malformed", signature(lambda text: text + "=")),
    Row("T-07-another-key-same-name", "signature", lambda forge: forge.token(sign=STRANGER.sign)),
    Row("T-08-kid-of-another-key", "key", lambda forge: forge.token(header={**forge.header, "kid": OTHER}, sign=STRANGER.sign), NAMED),
    Row("T-08-own-key-swapped", "signature", lambda forge: forge.token(header={**forge.header, "jwk": STRANGERS}), OWN),
    header("T-09-kid-unknown", "key", NAMED, kid="A" * 43),
    header("T-10-kid-path", "key", NAMED, kid="../../etc/passwd"),
    header("T-10-kid-sql", "key", NAMED, kid="' OR 1=1 --"),
    header("T-10-kid-of-64-KiB", "malformed", NAMED, kid="k" * 65536),
    header("T-10-jwk-of-64-KiB", "malformed", OWN, jwk={**JWK, "x": "k" * 65536}),
    Row("T-11-no-key-named", "header", lambda forge: forge.token(header={k: v for k, v in forge.header.items() if k not in ("kid", "jwk")})),
    *(Row(f"T-12-{alg}", "algorithm", as_other_algorithm(alg)) for alg in ("RS256", "RS384", "PS256", "ES384", "ES512", "EdDSA")),
    header("T-13-key-with-private-part", "own-key", OWN, jwk={**JWK, "d": "AQAB"}),
    header("T-13-key-for-encryption", "own-key", OWN, jwk={**JWK, "use": "enc"}),
    header("T-13-key-ops", "own-key", OWN, jwk={**JWK, "key_ops": ["verify"]}),
    header("T-13-key-of-another-curve", "own-key", OWN, jwk={**JWK, "crv": "P-384"}),
    header("T-13-key-off-the-curve", "own-key", OWN, jwk={**JWK, "x": JWK["y"]}),
    header("T-13-key-symmetric", "own-key", OWN, jwk={"kty": "oct", "k": "AAAA"}),
    claims("T-14-iss-wrong", "issuer", TOKENS, iss="https://evil.example"),
    without("T-14-iss-missing", "issuer", TOKENS, "iss"),
    claims("T-15-iss-slash", "issuer", TOKENS, iss="https://gateway.example/"),
    claims("T-15-iss-case", "issuer", TOKENS, iss="https://Gateway.example"),
    claims("T-15-iss-substring", "issuer", TOKENS, iss="https://gateway"),
    claims("T-16-iss-array", "issuer", TOKENS, iss=["https://gateway.example"]),
    claims("T-17-aud-wrong", "audience", TOKENS, aud="https://evil.example/v1"),
    claims("T-17-aud-of-the-other-token", "audience", ("access",), aud="https://gateway.example/v1/token"),
    claims("T-17-aud-of-the-other-token-", "audience", ("refresh",), aud="https://gateway.example/v1"),
    claims("T-17-htu-of-another-path", "url", ("dpop",), htu="https://gateway.example/v1/sessions"),
    claims("T-17-htu-of-another-host", "url", ("dpop",), htu="https://evil.example/v1/sessions/abc/credential"),
    claims("T-17-htu-with-a-query", "url", ("dpop",), htu="https://gateway.example/v1/sessions/abc/credential?x=1"),
    claims("T-17-htm-wrong", "method", ("dpop",), htm="GET"),
    claims("T-17-htm-case", "method", ("dpop",), htm="post"),
    claims("T-18-aud-wrong-azp-ours", "audience", TOKENS, aud="x", azp="https://gateway.example/v1"),
    claims("T-19-aud-ours-and-another", "audience", TOKENS, aud=["https://gateway.example/v1", "https://gateway.example/v1/token"]),
    without("T-20-aud-missing", "audience", TOKENS, "aud"),
    claims("T-20-aud-empty", "audience", TOKENS, aud=[]),
    without("T-20-htu-missing", "url", ("dpop",), "htu"),
    without("T-20-htm-missing", "method", ("dpop",), "htm"),
    claims("T-21-azp-wrong", "audience", TOKENS, azp="another"),
    claims("T-22-nonce-wrong", "nonce", ("dpop",), nonce="A" * 43),
    claims("T-22-nonce-list", "nonce", ("dpop",), nonce=["A"]),
    claims("T-22-nonce-list-", "claims", ("report",), nonce=["A"]),
    without("T-23-nonce-missing", "nonce", ("dpop",), "nonce"),
    without("T-23-nonce-missing-", "claims", ("report",), "nonce"),
    claims("T-25-ath-wrong", "hash", ("dpop",), ath="A" * 43),
    without("T-25-ath-missing", "hash", ("dpop",), "ath"),
    claims("T-26-ath-of-a-longer-hash", "hash", ("dpop",), ath="A" * 86),
    claims("T-26-cnf-of-another-key", "holder", TOKENS, cnf={"jkt": OTHER}),
    claims("T-26-cnf-with-more", "holder", TOKENS, cnf={"jkt": DEVICE.key.thumbprint, "x5t#S256": "A"}),
    without("T-26-cnf-missing", "holder", TOKENS, "cnf"),
    header("T-27-typ-logout", "type", typ="logout+jwt"),
    *(header(f"T-28-typ-{typ}", "type", typ=typ) for typ in ("JWT", "secevent+jwt", "sallyport-session+jwt", "application/jwt")),
    header("T-28-typ-at", "type", ("dpop", "refresh", "report", "enrolment"), typ="at+jwt"),
    header("T-28-typ-dpop", "type", ("access", "refresh", "report", "enrolment"), typ="dpop+jwt"),
    header("T-28-typ-null", "type", typ=None),
    Row("T-28-typ-capitals", "type", lambda forge: forge.token(header={**forge.header, "typ": str(forge.header["typ"]).upper()})),
    header("T-29-crit-unknown", "header", crit=["exp"]),
    header("T-30-crit-empty", "header", crit=[]),
    header("T-31-jwk-beside-kid", "header", NAMED, jwk=STRANGERS),
    header("T-31-kid-beside-jwk", "header", OWN, kid=OTHER),
    *(header(f"T-32-{name}", "header", **{name: "https://evil.example/keys"}) for name in ("jku", "x5u")),
    header("T-32-x5c", "header", x5c=["AAAA"]),
    header("T-33-b64-false", "header", b64=False),
    Row("T-34-claim-twice", "payload", lambda forge: forge.token(claims=json.dumps(forge.claims)[:-1].encode() + b', "iat": 1}')),
    Row("T-34-claim-twice-deep", "payload", lambda forge: forge.token(claims=json.dumps(forge.claims)[:-1].encode() + b', "x": {"a": 1, "a": 2}}')),
    Row("T-35-alg-twice", "malformed", lambda forge: forge.token(header=b'{"alg": "none", ' + json.dumps(forge.header)[1:].encode())),
    without("T-36-sub-missing", "subject", TOKENS, "sub"),
    without("T-36-jti-missing", "jti", ("dpop", "access", "refresh", "enrolment"), "jti"),
    without("T-36-session-missing", "claims", ("report",), "session"),
    *(claims(f"T-37-sub-{str(sub)[:6]}", "subject", TOKENS, sub=sub) for sub in ("", "s" * 256, 7, ["s"], None, "a\nb")),
    *(claims(f"T-37-jti-{str(jti)[:6]}", "jti", ("dpop", "access", "refresh", "enrolment"), jti=jti) for jti in ("", "j" * 21, "j" * 65, 7, None)),
    *(text(f"T-38-exp-{value[:6]}", "payload", ALL, "exp", value) for value in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 30)),
    *(claims(f"T-38-exp-{str(value)[:6]}", "instant", ALL, exp=value) for value in ("1795550400", True, None, [1], -1, 1e300)),
    *(text(f"T-38-iat-{value[:6]}", "payload", ALL, "iat", value) for value in ("NaN", "Infinity", "1e400")),
    without("T-39-exp-missing", "instant", TOKENS, "exp"),
    without("T-39-iat-missing", "instant", ALL, "iat"),
    claims("T-40-exp-100-s-ago", "time", ALL, exp=NOW - 100),
    claims("T-40-exp-before-iat", "time", TOKENS, iat=NOW, exp=NOW - 1),
    claims("T-41-iat-an-hour-ahead", "time", ALL, iat=NOW + 3600, exp=NOW + 7200),
    claims("T-41-nbf-an-hour-ahead", "time", ALL, nbf=NOW + 3600),
    claims("T-42-iat-ten-years-old", "time", ALL, iat=NOW - 10 * YEAR),
    claims("T-42-lifetime-of-ten-years", "time", ALL, exp=NOW + 10 * YEAR),
    Row("T-43-nested-jwt", "payload", lambda forge: forge.token(claims=forge.token().encode())),
    header("T-43-nested-jwt-declared", "header", cty="JWT"),
    header("T-43-compressed", "header", zip="DEF"),
    Row("T-43-jwe", "malformed", lambda _: ".".join(base64url(part) for part in (b'{"alg":"dir"}',) * 5)),
    Row("T-43-json-serialisation", "malformed", lambda forge: json.dumps(dict(zip(("protected", "payload", "signature"), forge.token().split("."), strict=True)))),
    Row("T-44-empty", ("missing", "malformed"), lambda _: ""),
    Row("T-44-of-1-MiB", "malformed", lambda forge: forge.token(claims={**forge.claims, "filler": "f" * (1 << 20)})),
    Row("T-44-newline", "malformed", lambda forge: forge.token() + "\n"),
    Row("T-44-beyond-ascii", "malformed", lambda forge: forge.token() + "é"),
    Row("T-44-json-1000-deep", "payload", lambda forge: forge.token(claims=json.dumps(forge.claims)[:-1].encode() + b', "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"), ("dpop", "access", "refresh", "report", "enrolment")),
    Row("T-44-json-array", "payload", lambda forge: forge.token(claims=b"[]")),
)  # fmt: skip

APART = {24: "below: a gateway that has given no nonce"}
CASES = [(row, kind) for row in ROWS for kind in row.kinds]


@pytest.mark.parametrize(("row", "kind"), CASES, ids=[f"{row.name}-{kind}" for row, kind in CASES])
def test_a_tampered_token_is_refused_by_the_check_that_it_aims_at(row: Row, kind: str) -> None:
    forge = forges()[kind]
    assert forge.judge(forge.token()), "the honest one is taken"
    token = row.change(forge)
    with pytest.raises(Refused) as refusal:
        forge.judge(token)
    checks = (row.check,) if isinstance(row.check, str) else row.check
    assert refusal.value.code in {"claims", *(forge.kind.refused(Broken(check, "")).code for check in checks)} - (
        set() if "claims" in checks or kind in ("report", "enrolment") else {"claims"}
    ), str(refusal.value)


def test_a_proof_where_no_nonce_was_given_is_refused() -> None:
    """T-24."""
    with pytest.raises(Refused) as refusal:
        judge_proof_without_nonce(forges()["dpop"].token())
    assert refusal.value.code == "dpop-nonce"


@pytest.mark.parametrize("kind", ALL)
def test_every_row_stands_in_the_table_or_says_why_not(kind: str) -> None:
    covered = {int(row.name[2:4]) for row in ROWS if kind in row.kinds} | set(APART)
    assert set(range(1, 45)) - covered <= NOT_OF[kind].keys()


NOT_OF: Mapping[str, Mapping[int, str]] = {
    "dpop": {
        **dict.fromkeys((14, 15, 16), "a proof names no issuer: its key is in its header, and its thumbprint is what counts"),
        **dict.fromkeys((18, 19, 21), "it has no audience; htm and htu stand in for it"),
        9: "it names no key but brings it",
    },
    "access": {**dict.fromkeys((13,), "its key is the gateway's own"), **dict.fromkeys((22, 23), "its proof has the nonce"), 25: "likewise"},
    "refresh": {**dict.fromkeys((13,), "its key is the gateway's own"), **dict.fromkeys((22, 23), "its proof has the nonce"), 25: "likewise"},
    "report": {
        **dict.fromkeys(range(14, 22), "a device's body names neither issuer nor audience: its key is the one, its type the other"),
        13: "the key is the one that was enrolled",
        **dict.fromkeys((25, 26), "there is no access token beside it"),
        37: "it has no sub; its session is looked up among the device's own",
    },
    "enrolment": {
        **dict.fromkeys(range(14, 22), "as the report"),
        **dict.fromkeys((22, 23), "it is used once by its jti"),
        **dict.fromkeys((25, 26), "there is no access token beside it"),
        9: "it names no key but brings it",
    },
}  # fmt: skip


def test_swapping_the_tokens_of_a_device_is_refused() -> None:
    """RFC 8725 section 3.12: none stands in for another."""
    for kind, forge in forges().items():
        for other, another in forges().items():
            if kind != other:
                with pytest.raises(Refused):
                    forge.judge(another.token())


def test_base64_has_one_form_here() -> None:
    """A replay memory keyed on text would know two tokens where there is one; here the second form is none at all."""
    head, payload, sign = forges()["access"].token().split(".")
    bits = base64.urlsafe_b64decode(sign + "==")[-1]
    twin = jws(forges()["access"].header, forges()["access"].claims, forges()["access"].sign)
    assert twin.count(".") == 2
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = last[last.index(sign[-1]) ^ 1]
    assert bits is not None
    with pytest.raises(Refused):
        forges()["access"].judge(f"{head}.{payload}.{sign[:-1]}{spare}")
