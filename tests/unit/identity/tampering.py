"""The rows T-01 to T-44: the ways in which a provider's token can be false. A row with several forms has a case for each.

Written for the ID token; most of them are a way to falsify any other kind as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.sim.provider import CLIENT, ISSUER, START, Draft, Signer, base64url, hs256, jws

SECRET = "a client secret of the usual length"
HOUR, YEAR = 3600, 365 * 86400
NOW = int(START.timestamp())
ONE, OTHER = Signer("one"), Signer("other")
ES256 = Signer("elliptic", "ES256")


@dataclass(frozen=True)
class Case:
    """One form of a row: what the provider puts in place of the token, and the code of the refusal."""

    name: str
    code: str
    token: Callable[[Draft], object]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Mapping[str, Any], ...] = (ONE.jwk,)
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> int:
        return int(self.name[2:4])


def header(name: str, code: str, *, metadata: Mapping[str, Any] | None = None, **members: Any) -> Case:
    return Case(name, f"login-token-{code}", lambda draft: draft.with_header(**members), metadata or {})


def claims(name: str, code: str, **members: Any) -> Case:
    return Case(name, f"login-token-{code}", lambda draft: draft.with_claims(**members))


def lists(*algorithms: str) -> dict[str, Any]:
    return {"id_token_signing_alg_values_supported": list(algorithms)}


def unsigned(algorithm: str) -> Callable[[Draft], str]:
    return lambda draft: jws({**draft.header, "alg": algorithm}, draft.claims, lambda _: b"")


def symmetric(secret: bytes) -> Callable[[Draft], str]:
    return lambda draft: jws({**draft.header, "alg": "HS256"}, draft.claims, hs256(secret))


def public(encoding: Encoding, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return bytes(ONE.key.public_key().public_bytes(encoding, form))


def signed_by(signer: Signer, **members: Any) -> Callable[[Draft], str]:
    return lambda draft: jws({**draft.header, **members}, draft.claims, signer.sign)


def signature(change: Callable[[str], str]) -> Callable[[Draft], str]:
    def tampered(draft: Draft) -> str:
        signing_input, _, text = draft.sign().rpartition(".")
        return f"{signing_input}.{change(text)}"

    return tampered


def flipped(text: str) -> str:
    """Another letter in the middle, where all its bits count."""
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


def payload(change: Callable[[str], str]) -> Callable[[Draft], str]:
    """A changed JSON text, honestly signed."""
    return lambda draft: jws(draft.header, change(json.dumps(draft.claims)).encode(), draft.signer.sign)


def number(name: str, text: str) -> Callable[[Draft], str]:
    """A claim with a number as JSON text that json.dumps would never write."""
    return payload(lambda claims: claims.replace(f'"{name}": {json.loads(claims)[name]}', f'"{name}": {text}'))


def nested(depth: int) -> Callable[[Draft], str]:
    return payload(lambda claims: claims[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}")


def of_an_earlier_login() -> Callable[[Draft], str]:
    """A token with the nonce that the first login of the test had."""
    seen: list[str] = []

    def token(draft: Draft) -> str:
        seen.append(draft.claims["nonce"])
        return draft.with_claims(nonce=seen[0])

    return token


UNFIT: Mapping[str, Mapping[str, Any]] = {
    "key-for-encryption": {"use": "enc"},
    "key-use-number": {"use": 1},
    "key-ops-encrypt": {"key_ops": ["encrypt"]},
    "key-ops-text": {"key_ops": "verify"},
    "key-alg-for-encryption": {"alg": "RSA-OAEP"},
    "key-alg-list": {"alg": ["RS256"]},
    "key-with-private-part": {"d": "AQAB"},
}
"""Members that make a key one that does not sign ID tokens."""

CASES = (
    Case("T-01-alg-none", "login-token-algorithm", unsigned("none")),
    Case("T-02-alg-none-announced", "login-token-algorithm", unsigned("none"), lists("RS256", "none")),
    Case("T-03-alg-nOnE", "login-token-algorithm", unsigned("nOnE"), lists("RS256", "none", "nOnE")),
    Case("T-03-alg-NONE", "login-token-algorithm", unsigned("NONE"), lists("RS256", "none", "NONE")),
    Case("T-03-alg-empty", "login-token-algorithm", unsigned(""), lists("RS256", "")),
    header("T-03-alg-null", "algorithm", alg=None),
    header("T-03-alg-list", "algorithm", alg=["RS256"]),
    Case("T-04-hs256-with-pem", "login-token-algorithm", symmetric(public(Encoding.PEM)), lists("RS256", "HS256")),
    Case("T-04-hs256-with-der", "login-token-algorithm", symmetric(public(Encoding.DER)), lists("RS256", "HS256")),
    Case(
        "T-04-hs256-with-jwk",
        "login-token-algorithm",
        symmetric(json.dumps(ONE.jwk).encode()),
        lists("RS256", "HS256"),
    ),
    Case(
        "T-04-hs256-with-bom-and-pem",
        "login-token-algorithm",
        symmetric(b"\xef\xbb\xbf" + public(Encoding.PEM)),
        lists("RS256", "HS256"),
    ),
    Case(
        "T-04-hs256-with-published-symmetric-key",
        "login-token-algorithm",
        lambda draft: jws({**draft.header, "alg": "HS256", "kid": "oct"}, draft.claims, hs256(b"k" * 32)),
        lists("RS256", "HS256"),
        (ONE.jwk, {"kty": "oct", "kid": "oct", "k": base64url(b"k" * 32), "alg": "HS256"}),
    ),
    Case("T-05-hs256-with-client-secret", "login-token-algorithm", symmetric(SECRET.encode()), lists("RS256", "HS256")),
    Case("T-06-signature-stripped", "login-token-signature", signature(lambda _: "")),
    Case("T-06-signature-part-missing", "login-token-malformed", lambda draft: draft.sign().rpartition(".")[0]),
    Case("T-06-signature-truncated", "login-token-signature", signature(lambda text: text[:-2])),
    Case("T-06-signature-longer", "login-token-signature", signature(lambda text: text + "AAAA")),
    Case("T-06-signature-bit-flipped", "login-token-signature", signature(flipped)),
    Case("T-06-signature-padded", "login-token-malformed", signature(lambda text: text + "==")),
    Case(
        "T-06-signature-of-another-payload",
        "login-token-signature",
        lambda d: swapped(d.sign(), d.with_claims(sub="x")),
    ),
    Case("T-07-other-key-same-kid", "login-token-signature", signed_by(OTHER)),
    Case("T-08-kid-of-another-issuer", "login-token-key", signed_by(OTHER, kid="other")),
    Case("T-09-kid-unknown", "login-token-key", signed_by(ONE, kid="unknown")),
    header("T-10-kid-with-a-path", "key", kid="../../../../../dev/null"),
    header("T-10-kid-with-sql", "key", kid="one' UNION SELECT 'key"),
    header("T-10-kid-with-nul", "malformed", kid="one\0"),
    header("T-10-kid-of-256-characters", "key", kid="k" * 256),
    header("T-10-kid-of-64-KiB", "malformed", kid="k" * 65536),
    header("T-10-kid-number", "key", kid=1),
    header("T-10-kid-empty", "key", kid=""),
    Case(
        "T-11-kid-missing-several-keys",
        "login-token-key",
        lambda draft: jws({"alg": "RS256"}, draft.claims, draft.signer.sign),
        published=(ONE.jwk, OTHER.jwk),
    ),
    Case(
        "T-11-kid-twice-in-the-set",
        "login-token-key",
        signed_by(OTHER, kid="twin"),
        published=(ONE.jwk, {**OTHER.jwk, "kid": "twin"}, {**Signer("third").jwk, "kid": "twin"}),
    ),
    *(
        Case(
            f"T-12-{algorithm}-not-announced",
            "login-token-algorithm",
            signed_by(Signer("wide", algorithm), alg=algorithm, kid="wide"),
            published=(ONE.jwk, Signer("wide", algorithm).jwk),
        )
        for algorithm in ("RS384", "RS512", "PS256", "ES256", "EdDSA")
    ),
    Case(
        "T-12-announced-but-the-key-is-for-another",
        "login-token-key",
        signed_by(Signer("one", "PS256"), alg="PS256"),
        lists("RS256", "PS256"),
    ),
    Case(
        "T-12-EC-key-named-for-RS256",
        "login-token-key",
        signed_by(ES256, kid="elliptic"),
        published=(ONE.jwk, {**ES256.jwk, "alg": "RS256"}),
    ),
    *(
        Case(
            f"T-13-{name}",
            "login-token-key",
            signed_by(OTHER, kid="other"),
            published=(ONE.jwk, {**OTHER.jwk, **members}),
        )
        for name, members in UNFIT.items()
    ),
    claims("T-14-iss-wrong", "issuer", iss="https://evil.example"),
    claims("T-15-iss-trailing-slash", "issuer", iss=f"{ISSUER}/"),
    claims("T-15-iss-case", "issuer", iss=ISSUER.upper()),
    claims("T-15-iss-substring", "issuer", iss=ISSUER[:-1]),
    claims("T-15-iss-superstring", "issuer", iss=f"{ISSUER}.evil.example"),
    claims("T-16-iss-array", "issuer", iss=[ISSUER]),
    claims("T-16-iss-null", "issuer", iss=None),
    claims("T-17-aud-wrong", "audience", aud="another"),
    claims("T-18-aud-wrong-azp-ours", "audience", aud="another", azp=CLIENT),
    claims("T-19-aud-ours-and-another", "audience", aud=[CLIENT, "another"], azp=CLIENT),
    claims("T-19-aud-another-and-ours", "audience", aud=["another", CLIENT]),
    claims("T-19-aud-ours-twice", "audience", aud=[CLIENT, CLIENT]),
    Case("T-20-aud-missing", "login-token-audience", lambda draft: draft.without("aud")),
    claims("T-20-aud-empty", "audience", aud=""),
    claims("T-20-aud-empty-list", "audience", aud=[]),
    claims("T-20-aud-case", "audience", aud=CLIENT.upper()),
    claims("T-20-aud-object", "audience", aud={CLIENT: True}),
    claims("T-21-azp-wrong", "audience", azp="another"),
    claims("T-21-azp-null", "audience", azp=None),
    claims("T-21-azp-list", "audience", azp=[CLIENT]),
    claims("T-22-nonce-wrong", "nonce", nonce="another"),
    Case("T-22-nonce-of-an-earlier-login", "login-token-nonce", of_an_earlier_login()),
    claims("T-22-nonce-list", "nonce", nonce=["another"]),
    Case("T-22-nonce-longer", "login-token-nonce", lambda draft: draft.with_claims(nonce=draft.claims["nonce"] + "a")),
    Case("T-22-nonce-shorter", "login-token-nonce", lambda draft: draft.with_claims(nonce=draft.claims["nonce"][:-1])),
    Case("T-23-nonce-missing", "login-token-nonce", lambda draft: draft.without("nonce")),
    claims("T-23-nonce-empty", "nonce", nonce=""),
    claims("T-25-at-hash-wrong", "hash", at_hash=base64url(b"another hash, 16")),
    claims("T-25-at-hash-empty", "hash", at_hash=""),
    claims("T-25-at-hash-list", "hash", at_hash=[]),
    Case("T-25-at-hash-of-another-access-token", "login-token-hash", Draft.sign, answer={"access_token": "swapped"}),
    Case("T-25-at-hash-without-access-token", "login-token-hash", Draft.sign, answer={"access_token": None}),
    header("T-26-at-hash-with-unknown-alg", "algorithm", metadata=lists("RS256", "XS256"), alg="XS256"),
    header("T-26-at-hash-with-ES256K", "algorithm", metadata=lists("RS256", "ES256K"), alg="ES256K"),
    header("T-27-typ-logout", "type", typ="logout+jwt"),
    header("T-28-typ-access-token", "type", typ="at+jwt"),
    header("T-28-typ-security-event", "type", typ="secevent+jwt"),
    header("T-28-typ-dpop", "type", typ="dpop+jwt"),
    header("T-28-typ-in-full", "type", typ="application/at+jwt"),
    header("T-28-typ-empty", "type", typ=""),
    header("T-28-typ-null", "type", typ=None),
    header("T-28-typ-list", "type", typ=["JWT"]),
    header("T-29-crit-unknown", "header", crit=["exp"]),
    header("T-30-crit-empty", "header", crit=[]),
    header("T-30-crit-null", "header", crit=None),
    Case(
        "T-31-jwk-of-an-attacker",
        "login-token-header",
        signed_by(OTHER, jwk=OTHER.jwk),
    ),
    header("T-31-jwk-signed-by-the-provider", "header", jwk=OTHER.jwk),
    header("T-32-jku", "header", jku="https://evil.example/keys"),
    header("T-32-x5u", "header", x5u="https://evil.example/chain"),
    header("T-32-x5c", "header", x5c=["MIIB"]),
    header("T-33-b64-false", "header", b64=False),
    header("T-33-b64-false-critical", "header", b64=False, crit=["b64"]),
    Case(
        "T-33-b64-false-and-so-signed",
        "login-token-malformed",
        lambda draft: ".".join(
            [base64url(json.dumps({**draft.header, "b64": False}).encode()), json.dumps(draft.claims), ""]
        ),
    ),
    Case("T-34-sub-twice", "login-token-malformed", payload(lambda claims: claims[:-1] + ', "sub": "sub-alice"}')),
    Case("T-34-sub-twice-deep", "login-token-malformed", payload(lambda c: c[:-1] + ', "x": {"a": 1, "a": 2}}')),
    Case(
        "T-34-sub-twice-escaped",
        "login-token-malformed",
        payload(lambda claims: claims[:-1] + r', "s\u0075b": "sub-bob"}'),
    ),
    Case(
        "T-35-alg-twice",
        "login-token-malformed",
        lambda draft: jws(b'{"alg": "none", "kid": "one", "alg": "RS256"}', draft.claims, draft.signer.sign),
    ),
    Case("T-36-sub-missing", "login-token-subject", lambda draft: draft.without("sub")),
    claims("T-37-sub-empty", "subject", sub=""),
    claims("T-37-sub-of-256-characters", "subject", sub="s" * 256),
    claims("T-37-sub-number", "subject", sub=7),
    claims("T-37-sub-array", "subject", sub=["sub-alice"]),
    claims("T-37-sub-null", "subject", sub=None),
    claims("T-37-sub-with-a-newline", "subject", sub="sub-alice\nsub-bob"),
    claims("T-37-sub-with-nul", "malformed", sub="sub-alice\0"),
    claims("T-37-sub-lone-surrogate", "malformed", sub="\ud800"),
    Case("T-38-exp-NaN", "login-token-malformed", number("exp", "NaN")),
    Case("T-38-exp-Infinity", "login-token-malformed", number("exp", "Infinity")),
    Case("T-38-exp-1e400", "login-token-malformed", number("exp", "1e400")),
    Case("T-38-exp-beyond-doubles", "login-token-malformed", number("exp", "9" * 30)),
    Case("T-38-exp-beyond-calendars", "login-token-time", number("exp", "1e300")),
    Case("T-38-exp-before-calendars", "login-token-time", number("exp", "-1e300")),
    claims("T-38-exp-string", "time", exp=str(NOW + 300)),
    claims("T-38-exp-bool", "time", exp=True),
    claims("T-38-exp-null", "time", exp=None),
    claims("T-38-exp-list", "time", exp=[NOW + 300]),
    Case("T-39-exp-missing", "login-token-time", lambda draft: draft.without("exp")),
    claims("T-40-exp-100-s-ago", "time", iat=NOW - 400, exp=NOW - 100),
    claims("T-40-exp-before-iat", "time", exp=NOW - 1),
    claims("T-41-iat-an-hour-ahead", "time", iat=NOW + HOUR, exp=NOW + 2 * HOUR),
    claims("T-41-nbf-an-hour-ahead", "time", nbf=NOW + HOUR),
    claims("T-41-nbf-string", "time", nbf=str(NOW)),
    claims("T-41-auth-time-an-hour-ahead", "time", auth_time=NOW + HOUR),
    claims("T-42-iat-ten-years-old", "time", iat=NOW - 10 * YEAR),
    claims("T-42-lifetime-of-ten-years", "time", exp=NOW + 10 * YEAR),
    Case("T-42-iat-missing", "login-token-time", lambda draft: draft.without("iat")),
    Case(
        "T-43-nested-jwt",
        "login-token-header",
        lambda draft: jws({**draft.header, "cty": "JWT"}, draft.sign().encode(), draft.signer.sign),
    ),
    Case(
        "T-43-nested-jwt-undeclared",
        "login-token-malformed",
        lambda draft: jws(draft.header, draft.sign().encode(), draft.signer.sign),
    ),
    Case("T-43-jwe", "login-token-malformed", lambda _: ".".join(base64url(part) for part in (b'{"alg":"dir"}',) * 5)),
    header("T-43-jwe-header-in-a-jws", "header", enc="A256GCM"),
    header("T-43-compressed", "header", zip="DEF"),
    Case("T-43-json-serialisation", "login-token-missing", lambda draft: flattened(draft.sign())),
    Case("T-43-json-serialisation-as-text", "login-token-malformed", lambda draft: json.dumps(flattened(draft.sign()))),
    Case("T-44-no-token", "login-token-missing", lambda _: None),
    Case("T-44-token-empty", "login-token-missing", lambda _: ""),
    Case("T-44-token-false", "login-token-missing", lambda _: False),
    Case("T-44-token-beyond-ascii", "login-token-malformed", lambda draft: draft.sign() + "é"),
    Case("T-44-token-with-a-newline", "login-token-malformed", lambda draft: draft.sign() + "\n"),
    Case("T-44-token-of-100-KiB", "login-token-malformed", lambda draft: draft.with_claims(filler="f" * 100_000)),
    Case("T-44-json-1000-deep", "login-token-malformed", nested(1000)),
    Case("T-44-json-20000-deep", "login-token-malformed", nested(20_000)),
)


def swapped(token: str, another: str) -> str:
    """The first token with the other one's payload."""
    (head, _, signature), (_, body, _) = token.split("."), another.split(".")
    return f"{head}.{body}.{signature}"


def flattened(token: str) -> dict[str, str]:
    """RFC 7515 section 7.2.2."""
    return dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))
