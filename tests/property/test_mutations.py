"""A hundred thousand structure-aware mutations of every kind of token: none that was not signed again is taken, and what was
signed again says what its kind must say, or is refused with one of our errors. Seeded, so that a failure comes again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.identity import compact
from gateway.identity.claim_rules import Expected
from gateway.identity.verify import verify_id_token, verify_logout_token
from tests.property.test_identity import CLAIMS, EXPECTED, HEADER, LOGOUT_CLAIMS, SIGNER
from tests.sim.provider import START, base64url, jws
from tests.unit.identity.forge import Forge, forges

COUNT = 15_000
"""Of each of seven kinds: 105,000 in an ordinary run."""

Decoded = dict[str, Any]


def provider_key(_kid: str | None, _alg: str) -> Any:
    return SIGNER.key.public_key()


def provided(verifier: Callable[..., object], header: Mapping[str, Any], claims: Mapping[str, Any]) -> Forge:
    expected: Expected = EXPECTED
    judge = lambda token: verifier(token, expected, provider_key, now=START)  # noqa: E731
    return Forge(forges()["access"].kind, header, claims, SIGNER.sign, judge)


def kinds() -> dict[str, Forge]:
    return {
        "ID": provided(verify_id_token, HEADER, CLAIMS),
        "logout": provided(verify_logout_token, HEADER, LOGOUT_CLAIMS),
        **forges(),
    }


NAMES = (
    "alg", "typ", "kid", "jwk", "jku", "x5c", "crit", "b64", "zip", "cty", "iss", "aud", "azp", "sub", "exp", "iat", "nbf",
    "nonce", "at_hash", "ath", "htm", "htu", "cnf", "jti", "events", "sid", "v", "session", "seq", "facts", "family",
    "generation", "", "x",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 1e300, 2**53, "", "x", "none", "ES256", "HS256", "JWT", "at+jwt", [], {}, [1], {"a": 1},
    "https://gateway.example", START.timestamp(), START.timestamp() + 86400 * 365, "A" * 43, "A" * 300, "\u0000", "ä",
)  # fmt: skip


def value(chance: random.Random, depth: int = 0) -> Any:
    draw = chance.random()
    if draw < 0.1 and depth < 3:
        return [value(chance, depth + 1) for _ in range(chance.randrange(3))]
    if draw < 0.2 and depth < 3:
        return {chance.choice(NAMES): value(chance, depth + 1) for _ in range(chance.randrange(3))}
    return chance.choice(VALUES)


def changed(members: Mapping[str, Any], chance: random.Random) -> Decoded:
    """One or two members other than they were, or gone."""
    given = dict(members)
    for _ in range(chance.randrange(1, 3)):
        name = chance.choice([*members, *members, *NAMES])
        if chance.random() < 0.2:
            given.pop(name, None)
        else:
            given[name] = value(chance)
    return given


def texted(members: Mapping[str, Any], chance: random.Random) -> bytes:
    """The same members in another text, or one of them twice."""
    plain = json.dumps(members)
    name = chance.choice(list(members))
    return chance.choice(
        [
            json.dumps(dict(reversed(members.items()))),
            json.dumps(members, indent=1),
            f"{plain[:-1]}, {json.dumps(name)}: {json.dumps(value(chance))}}}",
            plain.replace('"', "'"),
            plain[: chance.randrange(len(plain))],
            f"\ufeff{plain}",
        ]
    ).encode()


def unsigned(token: str, another: str, chance: random.Random) -> bytes:
    """A change by somebody who has no key."""
    parts, others = token.split("."), another.split(".")
    draw, at = chance.randrange(7), chance.randrange(3)
    if draw == 0:
        raw = bytearray(token.encode())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        return bytes(raw)
    if draw == 1:
        inside = bytearray(compact.base64url_decode(parts[at]))
        inside[chance.randrange(len(inside))] ^= 1 << chance.randrange(8)
        parts[at] = base64url(bytes(inside))
    elif draw == 2:
        parts[at] = others[at]
    elif draw == 3:
        at = chance.randrange(2)
        members = json.loads(compact.base64url_decode(parts[at]))
        parts[at] = base64url(json.dumps(changed(members, chance)).encode())
    elif draw == 4:
        at = chance.randrange(2)
        parts[at] = base64url(texted(json.loads(compact.base64url_decode(parts[at])), chance))
    elif draw == 5:
        start = chance.randrange(len(token))
        junk = chance.choice(["", ".", "=", "-", "_", "A", " ", "\n", "%2e", "AAAA"])
        return (token[:start] + junk + token[start + chance.randrange(4) :]).encode()
    else:
        chance.shuffle(parts)
        parts = parts[: chance.randrange(4)] + chance.choice([[], [""], parts[:1]])
    return ".".join(parts).encode()


def signed_again(forge: Forge, chance: random.Random) -> tuple[str, Mapping[str, Any]]:
    """A change by somebody who has the key: the header or the claims are other ones."""
    if chance.random() < 0.4:
        return forge.token(header=changed(forge.header, chance)), forge.claims
    claims = changed(forge.claims, chance)
    return forge.token(claims=claims), claims


MUST: Mapping[str, tuple[str, ...]] = {
    "ID": ("iss", "nonce"),
    "logout": ("iss", "events"),
    "dpop": ("htm", "htu", "ath", "nonce"),
    "access": ("iss", "aud"),
    "refresh": ("iss", "aud"),
    "report": ("v",),
    "enrolment": (),
}
"""What a token of the kind says whatever else it says: anything else in its place is refused."""


@pytest.mark.parametrize("kind", MUST)
def test_no_mutation_is_taken_for_what_it_is_not(kind: str) -> None:
    forge, chance = kinds()[kind], random.Random(kind)
    honest, other = forge.token(), forge.token(claims={**forge.claims, "jti": "k" * 24})
    assert forge.judge(honest)
    taken = 0
    for _ in range(COUNT):
        if chance.random() < 0.75:
            token: Any = unsigned(honest, other, chance)
            said: Mapping[str, Any] | None = None
        else:
            token, said = signed_again(forge, chance)
        try:
            forge.judge(token.decode("latin-1") if isinstance(token, bytes) else token)
        except Refused:
            continue
        if said is None:
            assert token in (honest.encode(), other.encode()), token
        else:
            assert all(said.get(name) == forge.claims.get(name) for name in MUST[kind]), said
        taken += 1
    assert taken < COUNT / 5, "most mutations change something that counts"


def test_a_hundred_thousand_mutations_are_made() -> None:
    assert COUNT * len(MUST) >= 100_000
    assert set(MUST) == set(kinds())
    assert jws({}, {}, lambda _: b"")
