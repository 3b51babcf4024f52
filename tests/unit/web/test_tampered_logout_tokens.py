"""The table of tampered logout tokens: every row is refused with its reason and changes nothing, where an honest one is taken.

The rows are those of the ID token (T-01 to T-44), given to the gateway by HTTP while a device is connected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlmodel import select

from gateway.store import tables
from gateway.store.engine import reading
from tests.sim.gateway import FULL, Device, World
from tests.sim.provider import CLIENT, ISSUER, LOGOUT_EVENT, Draft, Provider, jws
from tests.unit.identity.tampering import CASES as ID_TOKEN_CASES
from tests.unit.identity.tampering import NOW, OTHER, Case, lists, signed_by, unsigned

LOGOUT = {LOGOUT_EVENT: {}}
NOT_OF_A_LOGOUT = {
    "T-22": "a logout token has no nonce; its own rows stand below",
    "T-23": "likewise",
    "T-25": "there is no access token beside it",
    "T-27": "logout+jwt is what it should say",
    "T-36": "sub may be absent; its own rows stand below",
    "T-39": "exp may be absent",
    "T-41-auth-time-an-hour-ahead": "it has none",
    "T-43-json-serialisation": "a form carries text",
    "T-44-token-false": "likewise",
}
"""Rows, or forms of them, that are no lie in a logout token."""

ANOTHER_CODE = {
    "T-44-no-token": "form",
    "T-44-token-of-100-KiB": "body-too-large",
    "T-10-kid-of-64-KiB": "body-too-large",
}


def claims(name: str, code: str, **members: object) -> Case:
    return Case(name, f"logout-token-{code}", lambda draft: draft.with_claims(**members))


def without(name: str, code: str, *gone: str) -> Case:
    def token(draft: Draft) -> str:
        kept = {claim: value for claim, value in draft.claims.items() if claim not in gone}
        return replace(draft, claims=kept).sign()

    return Case(name, f"logout-token-{code}", token)


def an_id_token(**nonce: str) -> Callable[[Draft], str]:
    def token(draft: Draft) -> str:
        kept = {claim: value for claim, value in draft.claims.items() if claim not in ("events", "jti")}
        return jws({**draft.header, "typ": "JWT"}, {**kept, **nonce, "auth_time": NOW - 5}, draft.signer.sign)

    return token


OWN_CASES = (
    claims("T-22-nonce-present", "nonce", nonce="a nonce"),
    claims("T-23-nonce-empty", "nonce", nonce=""),
    claims("T-24-nonce-null", "nonce", nonce=None),
    Case("T-27-an-id-token", "logout-token-nonce", an_id_token(nonce="n")),
    Case("T-27-an-id-token-without-nonce", "logout-token-events", an_id_token()),
    without("T-36-neither-sub-nor-sid", "subject", "sub", "sid"),
    without("T-45-events-missing", "events", "events"),
    claims("T-45-events-null", "events", events=None),
    claims("T-45-events-empty", "events", events={}),
    claims("T-45-events-text", "events", events=LOGOUT_EVENT),
    claims("T-45-events-list", "events", events=[LOGOUT_EVENT]),
    claims("T-45-another-event", "events", events={"http://schemas.openid.net/event/other": {}}),
    claims("T-45-another-event-beside-it", "events", events={**LOGOUT, "urn:other": {}}),
    claims("T-45-event-https", "events", events={LOGOUT_EVENT.replace("http:", "https:"): {}}),
    claims("T-45-event-text", "events", events={LOGOUT_EVENT: ""}),
    claims("T-45-event-true", "events", events={LOGOUT_EVENT: True}),
    without("T-46-jti-missing", "jti", "jti"),
    claims("T-46-jti-empty", "jti", jti=""),
    claims("T-46-jti-number", "jti", jti=7),
    claims("T-46-jti-null", "jti", jti=None),
    claims("T-46-jti-of-256-characters", "jti", jti="j" * 256),
    claims("T-47-sid-empty", "session", sid=""),
    claims("T-47-sid-number", "session", sid=7),
    claims("T-47-sid-null", "session", sid=None),
    claims("T-47-sid-list", "session", sid=["sid"]),
    claims("T-47-sid-of-256-characters", "session", sid="s" * 256),
    claims("T-48-iat-eleven-minutes-old", "time", iat=NOW - 660, exp=NOW + 60),
    claims("T-48-iat-31-s-ahead", "time", iat=NOW + 31, exp=NOW + 120),
)
MODULES = (
    Case("rp-backchannel-rpinitlogout-alg-none", "logout-token-algorithm", unsigned("none"), lists("RS256", "none")),
    Case("rp-backchannel-rpinitlogout-wrong-alg", "logout-token-algorithm", signed_by(OTHER, alg="RS512")),
    without("rp-backchannel-rpinitlogout-no-event", "events", "events"),
    claims("rp-backchannel-rpinitlogout-wrong-event", "events", events={f"{LOGOUT_EVENT}1": {}}),
    claims("rp-backchannel-rpinitlogout-with-nonce", "nonce", nonce="a nonce"),
    claims("rp-backchannel-rpinitlogout-wrong-aud", "audience", aud=f"{CLIENT}1"),
    claims("rp-backchannel-rpinitlogout-wrong-iss", "issuer", iss=f"{ISSUER}/1"),
)
"""The modules of the OpenID conformance suite, by their names there; the eighth is the honest logout."""


def adapted(case: Case) -> Case:
    code = ANOTHER_CODE.get(case.name, case.code.replace("login-token", "logout-token"))
    return replace(case, code=code)


CASES = (
    *(
        adapted(case)
        for case in ID_TOKEN_CASES
        if case.name not in NOT_OF_A_LOGOUT and case.name[:4] not in NOT_OF_A_LOGOUT
    ),
    *OWN_CASES,
    *MODULES,
)


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Device]]:
    """A gateway and a device that lives through all refusals."""
    world = World(tmp_path_factory.mktemp("logout"))
    provider = Provider()
    world.use_provider(provider)
    world.tick()
    device = Device(world)
    assert device.log_in_at(provider).status_code == 200
    yield world, device.connect()
    world.close()


def state(world: World) -> tuple[list[str], int]:
    with reading(world.engine) as db:
        return world.audit(), len(db.exec(select(tables.Logout)).all())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tampered_logout_token_is_refused_and_changes_nothing(connected: tuple[World, Device], case: Case) -> None:
    world, device = connected
    provider = Provider(metadata=dict(case.metadata), published=[dict(jwk) for jwk in case.published])
    world.use_provider(provider)
    honest = provider.logout(sub="sub-nobody", jti=case.name).sign()
    assert world.browser.post("/backchannel-logout", data={"logout_token": honest}).status_code == 200
    before = state(world)

    token = case.token(provider.logout(sub="sub-alice", sid="sid-0", jti=f"tampered {case.name}"))
    fields = {"other": "x"} if token is None else {"logout_token": token}
    answer = world.browser.post("/backchannel-logout", data=fields)
    assert (answer.status_code, answer.json()["code"]) == (413 if "large" in case.code else 400, case.code), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert device.reach == FULL
    assert state(world) == before


def test_the_table_leaves_out_no_row_without_a_reason() -> None:
    rows = {case.row for case in CASES if case.name.startswith("T-")}
    assert {*rows, 25, 39} == set(range(1, 49))
    assert len({case.name for case in CASES}) == len(CASES)
