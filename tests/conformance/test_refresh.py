"""The plan of refresh tokens, 3 modules: the gateway uses one to ask whether a login still holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.web import login_checks
from tests.conformance.relying_party import RelyingPartyUnderTest
from tests.sim.gateway import FULL, POLICY, World
from tests.sim.provider import ISSUER, TOKEN, Provider

CHECKED = POLICY.replace("reauthenticate: 12h}", "reauthenticate: 12h, check_login: 5m}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A gateway whose policy has logins checked every five minutes."""
    world = World(tmp_path, policy=CHECKED)
    world.tick()
    yield world
    world.close()


@pytest.fixture
def connected(party: RelyingPartyUnderTest, provider: Provider) -> RelyingPartyUnderTest:
    """Alice is logged in and connected, and her check is due."""
    provider.metadata["scopes_supported"] = ["openid", "profile", "groups", "offline_access"]
    party.accepts()
    party.device.connect()
    for _ in range(10):
        party.passes(timedelta(seconds=30))
        assert party.device.report().status_code == 200
    assert party.device.reach == FULL
    return party


def check(party: RelyingPartyUnderTest) -> int:
    return login_checks.step(party.world.deployment, now=party.world.clock.time)


def test_oidcc_client_test_refresh_token(connected: RelyingPartyUnderTest) -> None:
    """A refresh, with rotation, and another one later: the session goes on, and the new ID token has no nonce."""
    assert check(connected) == 1
    assert connected.token_request.content.startswith(b"grant_type=refresh_token")
    assert check(connected) == 0, "not due again yet"
    assert connected.device.reach == FULL
    for _ in range(10):
        connected.passes(timedelta(seconds=30))
        assert connected.device.report().status_code == 200
    assert check(connected) == 1, "with the token that the first refresh brought"
    assert connected.device.reach == FULL
    assert len(connected.asked(TOKEN)) == 3


def test_oidcc_client_test_refresh_token_invalid_issuer(connected: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.with_claims(iss=f"{ISSUER}/other")
    assert check(connected) == 1
    assert connected.device.reach is None
    connected.is_logged_out()


def test_oidcc_client_test_refresh_token_invalid_sub(connected: RelyingPartyUnderTest, provider: Provider) -> None:
    provider.id_token = lambda draft: draft.with_claims(sub="sub-bob")
    assert check(connected) == 1
    assert connected.device.reach is None
    connected.is_logged_out()
