"""Which user and which groups the verified claims of a login name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import Unauthenticated
from gateway.identity.claim_rules import LONGEST_TEXT
from gateway.identity.verify import VerifiedClaims

MOST_GROUPS = 1000


def user(verified: VerifiedClaims) -> str:
    """Name the user as people do: `preferred_username`, else a verified e-mail address, else the subject.

    Issuer and subject are what identifies a user; this is what policies, audit and screens say.
    """
    claims = verified.claims
    if _is_name(claims.get("preferred_username")):
        return str(claims["preferred_username"])
    if _is_name(claims.get("email")) and claims.get("email_verified") is True:
        return str(claims["email"])
    return verified.subject


def email(verified: VerifiedClaims) -> str | None:
    """Give the e-mail address that the provider knows the user by. It takes access away (security events), and gives none."""
    found = verified.claims.get("email")
    return str(found).lower() if _is_name(found) else None


def names_groups(claims: Mapping[str, Any], path: str) -> bool:
    """Say whether the claims speak of groups at all, if only to say that they stand elsewhere."""
    return _at(claims, path) is not None or _elsewhere(claims, path)


def groups(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Read the groups at `path`: a claim's name, or names joined by dots for a nested one (`realm_access.roles`).

    Absent is no groups. Raises Unauthenticated when they are not a list of names or stand elsewhere (distributed claims).
    """
    if _elsewhere(claims, path):
        raise Unauthenticated(
            "login-groups",
            f"the provider keeps {path} elsewhere (too many groups); let it put only the needed ones in the ID token",
        )
    found = _at(claims, path)
    names = [found] if isinstance(found, str) else found
    if names is None:
        return ()
    if not isinstance(names, list) or len(names) > MOST_GROUPS or not all(_is_name(name) for name in names):
        raise Unauthenticated("login-groups", f"{path} must be a list of at most {MOST_GROUPS} group names")
    return tuple(sorted(set(names)))


def _elsewhere(claims: Mapping[str, Any], path: str) -> bool:
    """OIDC Core 5.6.2: aggregated and distributed claims."""
    elsewhere = claims.get("_claim_names")
    return isinstance(elsewhere, Mapping) and (path in elsewhere or path.partition(".")[0] in elsewhere)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()
