"""Which user and which groups verified claims name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Unauthenticated
from gateway.identity import claims
from gateway.identity.claims import MOST_GROUPS
from gateway.identity.verify import VerifiedClaims
from tests.sim.provider import ISSUER, START, LoginDesk, Provider


def named(**members: Any) -> str:
    return claims.user(VerifiedClaims(ISSUER, "sub-alice", None, START, START, None, (), members))


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"preferred_username": "alice"}, "alice"),
        ({"preferred_username": "Алиса", "email": "a@example", "email_verified": True}, "Алиса"),
        ({"email": "alice@example", "email_verified": True}, "alice@example"),
        ({"email": "alice@example", "email_verified": False}, "sub-alice"),
        ({"email": "alice@example", "email_verified": "true"}, "sub-alice"),
        ({"email": "alice@example"}, "sub-alice"),
        ({"preferred_username": ""}, "sub-alice"),
        ({"preferred_username": 7}, "sub-alice"),
        ({"preferred_username": ["alice"]}, "sub-alice"),
        ({"preferred_username": "alice\nroot"}, "sub-alice"),
        ({"preferred_username": "\u202eecila"}, "sub-alice"),
        ({"preferred_username": "a" * 256}, "sub-alice"),
        ({"preferred_username": "a" * 255}, "a" * 255),
        ({"email": "", "email_verified": True}, "sub-alice"),
        ({"email": ["alice@example"], "email_verified": True}, "sub-alice"),
        ({"name": "Alice"}, "sub-alice"),
        ({}, "sub-alice"),
    ],
)
def test_a_user_is_named_as_people_do_and_never_by_what_nobody_verified(members: dict[str, Any], name: str) -> None:
    assert named(**members) == name


@pytest.mark.parametrize(
    ("members", "path", "found"),
    [
        ({"groups": ["staff", "finance"]}, "groups", ("finance", "staff")),
        ({"groups": ["staff", "staff"]}, "groups", ("staff",)),
        ({"groups": "staff"}, "groups", ("staff",)),
        ({"groups": []}, "groups", ()),
        ({"groups": None}, "groups", ()),
        ({}, "groups", ()),
        ({"roles": ["staff"]}, "groups", ()),
        ({"realm_access": {"roles": ["staff"]}}, "realm_access.roles", ("staff",)),
        ({"realm_access": {}}, "realm_access.roles", ()),
        ({"realm_access": ["roles"]}, "realm_access.roles", ()),
        ({"realm_access": "roles"}, "realm_access.roles", ()),
        ({"a": {"b": {"c": ["staff"]}}}, "a.b.c", ("staff",)),
        ({"https://example.com/groups": ["staff"]}, "https://example.com/groups", ("staff",)),
        ({"a.b": ["flat"], "a": {"b": ["nested"]}}, "a.b", ("flat",)),
        ({"groups": ["Gruppe ä", "team/a", "CN=Staff,OU=x"]}, "groups", ("CN=Staff,OU=x", "Gruppe ä", "team/a")),
        ({"groups": [f"g{n:04}" for n in range(MOST_GROUPS)]}, "groups", tuple(f"g{n:04}" for n in range(MOST_GROUPS))),
    ],
)
def test_groups_are_found_where_the_setting_says(members: dict[str, Any], path: str, found: tuple[str, ...]) -> None:
    assert claims.groups(members, path) == found


@pytest.mark.parametrize(
    "groups",
    [
        7,
        True,
        {"staff": True},
        "",
        [7],
        [None],
        ["staff", ""],
        ["staff\n"],
        ["staff\0"],
        [["staff"]],
        [{"name": "staff"}],
        ["g" * 256],
        [f"g{n}" for n in range(MOST_GROUPS + 1)],
    ],
    ids=lambda groups: str(groups)[:30],
)
def test_groups_that_are_no_list_of_names_are_refused(groups: Any) -> None:
    with pytest.raises(Unauthenticated, match="groups must be a list") as refusal:
        claims.groups({"groups": groups}, "groups")
    assert refusal.value.code == "login-groups"


def test_groups_that_the_provider_keeps_elsewhere_are_refused_and_not_taken_for_none() -> None:
    """Some providers leave out too many groups and say where to ask (distributed claims, OIDC Core 5.6.2)."""
    members = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}
    with pytest.raises(Unauthenticated, match="keeps groups elsewhere"):
        claims.groups(members, "groups")
    assert claims.groups(members, "roles") == ()


def test_groups_of_a_login_come_from_the_configured_claim() -> None:
    provider = Provider(id_token=lambda draft: draft.with_claims(realm_access={"roles": ["vpn"]}))
    assert LoginDesk(provider, groups_claim="realm_access.roles").log_in().groups == ("vpn",)


def test_a_login_with_groups_that_are_none_is_refused() -> None:
    provider = Provider(id_token=lambda draft: draft.with_claims(groups={"admin": True}))
    with pytest.raises(Unauthenticated, match="groups must be a list"):
        LoginDesk(provider).log_in()
