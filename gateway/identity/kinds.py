"""What each kind of token from outside must be: one row each. `verify.verify` walks them; no token is judged elsewhere.

                 who signs            typ                           exp       how old   and the rules
    ID           provider             JWT or none                   needed    10 min    iss aud nonce at_hash
    renewed ID   provider             JWT or none                   needed    10 min    iss aud at_hash
    logout       provider             logout+jwt, JWT or none       may       10 min    iss aud events, no nonce
    SET          provider             secevent+jwt                  never     24 h      iss aud jti events, no nonce
    DPoP proof   device, own jwk      dpop+jwt                      may       60 s      htm htu ath nonce jti
    access       this gateway         at+jwt                        needed    5 min     iss aud sub cnf jti
    refresh      this gateway         sallyport-refresh+jwt         needed    31 days   iss aud sub cnf jti
    enrolment,
    redemption   device, own jwk      sallyport-…+jwt               may       60 s      jti
    signed body  device               sallyport-…+jwt               may       60 s      jti
    report       device               sallyport-report+jwt          may       60 s      its members (`device.py`)

Ours have exactly the header that they should have; a provider's may have more, of which what could mean something else is
refused (RFC 8725 sections 3.1, 3.10).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from agent import wire
from gateway.errors import Malformed, Refused, Unauthenticated
from gateway.identity import claim_rules as rules
from gateway.identity import proof_rules
from gateway.identity.claim_rules import Broken, Expected, Signed
from gateway.identity.jwks import ALLOWED

Rule = Callable[[Signed, Expected], None]

KIB = 1024
ES256 = frozenset({"ES256"})
NAMED, OWN = frozenset({"alg", "typ", "kid"}), frozenset({"alg", "typ", "jwk"})
"""The headers of our own tokens: the key's name, or the key itself."""

PROVIDER_AGE = timedelta(minutes=10)
"""The code flow makes the ID token while we wait: an older one is somebody else's. A logout token may have been tried
again while we restarted."""
SET_AGE = timedelta(hours=24)
"""A transmitter keeps events for a receiver that is away (RFC 8936); what a day-old one says is still true."""
PROOF_AGE = timedelta(seconds=60)
"""`iat` may be this far from our clock, either way; a `jti` must be remembered for twice as long."""
ACCESS_LIFETIME = timedelta(minutes=5)
REFRESH_LIFETIME = timedelta(days=31)


class Expiry(enum.Enum):
    """Whether a token ends by itself."""

    NEEDED = "must have exp"
    ALLOWED = "may have exp"
    REFUSED = "must not have exp"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. `header` None allows other parameters; `untyped` allows `typ` to be absent.

    A refusal's code is `<code>-<check>`, unless `codes` says another and which error it is; `says` is its text.
    """

    name: str
    code: str
    refusal: type[Refused]
    says: str
    types: tuple[str, ...]
    untyped: bool
    header: frozenset[str] | None
    algorithms: frozenset[str]
    largest: int
    expiry: Expiry
    oldest: timedelta
    ahead: timedelta
    longest: timedelta
    rules: tuple[Rule, ...]
    codes: Mapping[str, tuple[type[Refused], str]] = field(default_factory=dict)

    def refused(self, broken: Broken) -> Refused:
        """Make the error that says which check it was."""
        error, code = self.codes.get(broken.check, (self.refusal, f"{self.code}-{broken.check}"))
        return error(code, self.says.format(broken))


def _provider(
    name: str, code: str, refusal: type[Refused], types: tuple[str, ...], expiry: Expiry, *kept: Rule, **more: object
) -> Kind:
    row: dict[str, object] = {"untyped": True, "oldest": PROVIDER_AGE, **more}
    merged = {check: (refusal, f"{code}-{to}") for check, to in {"payload": "malformed", "instant": "time"}.items()}
    return Kind(
        name=name,
        code=code,
        refusal=refusal,
        says=f"the provider's {name} is refused: {{}}",
        types=types,
        header=None,
        algorithms=ALLOWED,
        largest=64 * KIB,  # room for a thousand groups
        expiry=expiry,
        ahead=rules.CLOCK_SKEW,
        longest=rules.LONGEST_LIFETIME,
        rules=(rules.issuer, rules.audience, *kept),
        codes=merged,
        **row,  # type: ignore[arg-type]
    )


def _device(name: str, typ: str, *kept: Rule, header: frozenset[str] = NAMED, largest: int = 64 * KIB) -> Kind:
    form, head = (Malformed, "signature-form"), (Malformed, "signature-header")
    member, clock = (Malformed, "claims"), (Unauthenticated, "clock")
    return Kind(
        name=name,
        code="claims",
        refusal=Malformed,
        says="{}",
        types=(typ,),
        untyped=False,
        header=header,
        algorithms=ES256,
        largest=largest,
        expiry=Expiry.ALLOWED,
        oldest=PROOF_AGE,
        ahead=PROOF_AGE,
        longest=rules.LONGEST_LIFETIME,
        rules=kept,
        codes={
            **dict.fromkeys(("malformed", "missing"), form),
            **dict.fromkeys(("header", "type", "algorithm"), head),
            **dict.fromkeys(("payload", "instant", "jti"), member),
            "own-key": (Malformed, "device-key"),
            "key": (Unauthenticated, "device-unknown"),
            "signature": (Unauthenticated, "signature"),
            "time": clock,
        },
    )


def _agent_token(name: str, typ: str, lifetime: timedelta, *kept: Rule) -> Kind:
    return Kind(
        name=name,
        code="token",
        refusal=Unauthenticated,
        says=f"the {name} is refused: {{}}",
        types=(typ,),
        untyped=False,
        header=NAMED,
        algorithms=ES256,
        largest=4 * KIB,
        expiry=Expiry.NEEDED,
        oldest=lifetime,
        ahead=rules.CLOCK_SKEW,
        longest=lifetime,
        rules=(rules.issuer, rules.audience, proof_rules.device, proof_rules.bound, proof_rules.jti, *kept),
    )


ID_TOKEN = _provider(
    "ID token",
    "login-token",
    Unauthenticated,
    ("JWT",),  # RFC 8725 3.11: logout+jwt and at+jwt are no ID tokens
    Expiry.NEEDED,
    rules.nonce,
    rules.access_token_hash,
)
RENEWED_ID_TOKEN = _provider(
    "renewed ID token",
    "login-token",
    Unauthenticated,
    ("JWT",),
    Expiry.NEEDED,
    rules.access_token_hash,  # OIDC Core 12.2: a nonce should not be there, and nobody waits for one
)
LOGOUT_TOKEN = _provider(
    "logout token",
    "logout-token",
    Malformed,  # Back-Channel Logout 2.8: 400
    ("logout+jwt", "JWT"),  # 2.4 recommends the first; many providers say the second
    Expiry.ALLOWED,
    rules.no_nonce,
    rules.logout_event,
)
SECURITY_EVENT = _provider(
    "security event token",
    "set",
    Malformed,  # RFC 8935 2.4: 400
    ("secevent+jwt",),  # SSF 1.0 section 4.1.1: explicitly typed
    Expiry.REFUSED,  # 4.1.7: an event does not cease to have happened
    rules.no_nonce,
    rules.jti,
    rules.one_event,
    untyped=False,
    oldest=SET_AGE,
)
DPOP_PROOF = Kind(
    name="DPoP proof",
    code="dpop",
    refusal=Unauthenticated,
    says="the DPoP proof is refused: {}",
    types=("dpop+jwt",),
    untyped=False,
    header=OWN,
    algorithms=ES256,
    largest=4 * KIB,
    expiry=Expiry.ALLOWED,
    oldest=PROOF_AGE,
    ahead=PROOF_AGE,
    longest=rules.LONGEST_LIFETIME,
    rules=(
        proof_rules.request,
        proof_rules.token_hash,
        proof_rules.holder,
        proof_rules.jti,
        proof_rules.server_nonce,  # last: who gets so far may be told a nonce
    ),
)
ACCESS_TOKEN = _agent_token("access token", "at+jwt", ACCESS_LIFETIME)  # RFC 9068 2.1
REFRESH_TOKEN = _agent_token("refresh token", "sallyport-refresh+jwt", REFRESH_LIFETIME, proof_rules.family)
ENROLMENT = _device("enrolment", wire.TYP_ENROLMENT, proof_rules.jti, header=OWN)
REDEMPTION = _device("redemption", wire.TYP_REDEMPTION, proof_rules.jti, header=OWN)
BODY_TYPES = (wire.TYP_CONFIRM, wire.TYP_SESSION, wire.TYP_LOGOUT, wire.TYP_ASSERTION)
REPORT = _device("report", wire.TYP_REPORT, largest=256 * KIB)  # one with 200 facts has about 40 KiB
BODIES = {typ: _device("body", typ, proof_rules.jti) for typ in BODY_TYPES}

KINDS = (
    ID_TOKEN,
    RENEWED_ID_TOKEN,
    LOGOUT_TOKEN,
    SECURITY_EVENT,
    DPOP_PROOF,
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    ENROLMENT,
    REDEMPTION,
    REPORT,
    *BODIES.values(),
)
