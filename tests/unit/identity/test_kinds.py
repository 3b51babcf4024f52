"""The table of token kinds: no token of one kind is one of another, and every kind pins what it must."""

from __future__ import annotations

import itertools

import pytest

from gateway.identity.kinds import ES256, KINDS, NAMED, OWN, Expiry, Kind

ASYMMETRIC = {"RS", "PS", "ES", "Ed"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_pins_algorithm_type_size_and_age(kind: Kind) -> None:
    assert kind.types
    assert {algorithm[:2] for algorithm in kind.algorithms} <= ASYMMETRIC
    assert 0 < kind.largest <= 256 * 1024
    assert kind.oldest.total_seconds() > 0
    assert kind.ahead.total_seconds() <= 60
    assert kind.header is None or (kind.header in (NAMED, OWN) and kind.algorithms == ES256 and not kind.untyped)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(KINDS, 2)), ids=lambda kind: kind.types[0])
def test_two_kinds_differ_in_type_key_or_claims(one: Kind, other: Kind) -> None:
    """What one party signs as one kind is never another kind of the same party (RFC 8725 section 3.12)."""
    if set(one.types) & set(other.types):
        assert {one.name, other.name} <= {"ID token", "renewed ID token", "logout token"}
        assert set(one.rules) ^ set(other.rules), "told apart by nonce and events"


def test_only_what_tells_of_the_past_has_no_end() -> None:
    assert {kind.name for kind in KINDS if kind.expiry is Expiry.REFUSED} == {"security event token"}
    assert {kind.name for kind in KINDS if kind.expiry is Expiry.NEEDED} == {
        "ID token",
        "renewed ID token",
        "access token",
        "refresh token",
    }
