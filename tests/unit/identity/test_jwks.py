"""The provider's signing keys: rotated, withdrawn, unreachable, redirected; and how often they are asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.errors import GatewayError, ProviderError, Unauthenticated
from gateway.identity.http import Egress
from gateway.identity.jwks import GRACE, MAXIMUM_AGE, MOST_KEYS, REFRESH, KeySet, read_keys
from tests.sim.provider import ADDRESS, ISSUER, KEYS, START, LoginDesk, Provider, Signer, base64url

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
URL = f"{ISSUER}{KEYS}"
ONE, TWO = Signer("one"), Signer("two")


def key_set(provider: Provider) -> KeySet:
    return KeySet(URL, Egress(False, resolve=lambda _host, _port: [ADDRESS], wire=provider))


def down(_request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectTimeout("timed out")


def is_key(found: Any, signer: Signer) -> bool:
    return bool(found.public_numbers() == signer.key.public_key().public_numbers())


# rotation


def test_an_unknown_kid_is_one_refresh(provider: Provider) -> None:
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    with pytest.raises(Unauthenticated, match="names no key"):
        keys.find("two", "RS256", now=START + SECOND)
    assert provider.asked == [KEYS] * 2


def test_a_key_that_was_rotated_in_works_at_once(provider: Provider) -> None:
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    provider.rotate("two")
    assert is_key(keys.find("two", "RS256", now=START + SECOND), TWO)
    assert provider.asked == [KEYS] * 2


def test_a_login_works_after_a_rotation_and_the_withdrawn_key_does_not(provider: Provider, desk: LoginDesk) -> None:
    desk.log_in()
    provider.rotate("two")
    assert desk.log_in().user == "alice"
    provider.signer = ONE
    with pytest.raises(Unauthenticated, match="names no key"):
        desk.log_in()


def test_a_withdrawn_key_is_refused_five_minutes_later(provider: Provider) -> None:
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    provider.rotate("two")
    assert is_key(keys.find("one", "RS256", now=START + REFRESH - SECOND), ONE)
    with pytest.raises(Unauthenticated, match="names no key"):
        keys.find("one", "RS256", now=START + REFRESH)


def test_a_key_that_is_replaced_under_its_name_is_replaced_within_five_minutes(provider: Provider) -> None:
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    provider.published = [{**TWO.jwk, "kid": "one"}]
    assert is_key(keys.find("one", "RS256", now=START + REFRESH), TWO)


def test_two_keys_stand_side_by_side_while_a_provider_rotates(provider: Provider) -> None:
    provider.rotate("two", keep=True)
    keys = key_set(provider)
    assert is_key(keys.find("one", "RS256", now=START), ONE)
    assert is_key(keys.find("two", "RS256", now=START), TWO)
    assert provider.asked == [KEYS]


# how often


def test_the_provider_is_asked_at_most_twice_a_minute(provider: Provider) -> None:
    keys = key_set(provider)
    for second in range(60):
        with pytest.raises(Unauthenticated):
            keys.find(f"unknown-{second}", "RS256", now=START + second * SECOND)
    assert provider.asked == [KEYS] * 2
    with pytest.raises(Unauthenticated):
        keys.find("unknown", "RS256", now=START + MINUTE)
    assert provider.asked == [KEYS] * 3


def test_a_provider_that_is_down_is_asked_at_most_twice_a_minute(provider: Provider) -> None:
    provider.answers[KEYS] = down
    keys = key_set(provider)
    for second in range(60):
        with pytest.raises(ProviderError, match=r"no usable signing keys.*timed out"):
            keys.find("one", "RS256", now=START + second * SECOND)
    assert provider.asked == [KEYS] * 2


def test_threads_that_all_meet_an_unknown_kid_share_the_requests(provider: Provider) -> None:
    keys = key_set(provider)

    def find(number: int) -> str:
        with pytest.raises(Unauthenticated) as refusal:
            keys.find(f"unknown-{number}", "RS256", now=START)
        return refusal.value.code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(find, range(64))) == {"key-unknown"}
    assert provider.asked == [KEYS] * 2


def test_floods_of_unknown_kids_do_not_push_a_known_key_out(provider: Provider) -> None:
    keys = key_set(provider)
    for number in range(100):
        with pytest.raises(Unauthenticated):
            keys.find(f"unknown-{number}", "RS256", now=START)
    assert is_key(keys.find("one", "RS256", now=START + MINUTE), ONE)


# how long


@pytest.mark.parametrize(
    ("cache_control", "usable"),
    [
        (None, MAXIMUM_AGE),
        ("public", MAXIMUM_AGE),
        ("max-age=7200", 2 * GRACE + GRACE),
        ("public, MAX-AGE=7200, must-revalidate", 2 * GRACE + GRACE),
        ("max-age=0", GRACE),
        ("no-store", GRACE),
        ("no-cache, max-age=86400", GRACE),
        ("max-age=999999999", MAXIMUM_AGE),
        ("max-age=9999999999999999999999", MAXIMUM_AGE),
        ("max-age=-1", MAXIMUM_AGE),
        ("max-age=soon", MAXIMUM_AGE),
    ],
)
@pytest.mark.parametrize(
    "failure",
    [
        down,
        lambda _: httpx2.Response(500),
        lambda _: httpx2.Response(200, json={"keys": []}),
        lambda _: httpx2.Response(200, text="<html>"),
        lambda _: httpx2.Response(302, headers={"location": f"{ISSUER}/other"}),
        lambda _: httpx2.Response(200, content=b" " * (1 << 21)),
    ],
    ids=["down", "500", "empty", "a page", "redirected", "too large"],
)
def test_known_keys_outlive_a_failure_as_long_as_the_provider_allowed_and_an_hour(
    provider: Provider, failure: Any, cache_control: str | None, usable: timedelta
) -> None:
    if cache_control is not None:
        provider.key_headers["Cache-Control"] = cache_control
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    provider.answers[KEYS] = failure
    assert is_key(keys.find("one", "RS256", now=START + usable - SECOND), ONE)
    with pytest.raises(ProviderError, match="no usable signing keys"):
        keys.find("one", "RS256", now=START + usable)
    assert provider.asked == [KEYS] * 3  # the redirect was not followed


def test_keys_come_back_when_the_provider_does(provider: Provider) -> None:
    provider.answers[KEYS] = down
    keys = key_set(provider)
    with pytest.raises(ProviderError):
        keys.find("one", "RS256", now=START)
    del provider.answers[KEYS]
    assert is_key(keys.find("one", "RS256", now=START + SECOND), ONE)


def test_a_clock_that_goes_back_makes_keys_old_and_not_young(provider: Provider) -> None:
    keys = key_set(provider)
    keys.find("one", "RS256", now=START)
    provider.answers[KEYS] = down
    with pytest.raises(ProviderError, match="no usable signing keys"):
        keys.find("one", "RS256", now=START - SECOND)


def test_another_address_for_the_keys_is_another_set(provider: Provider, desk: LoginDesk) -> None:
    desk.log_in()
    provider.metadata["jwks_uri"] = f"{ISSUER}/moved"
    provider.rotate("two")
    provider.answers["/moved"] = lambda _: httpx2.Response(200, json={"keys": provider.published})
    desk.passes(timedelta(hours=1))
    assert desk.log_in().user == "alice"
    assert desk.asked(["/moved"]) == 1


# what a set may hold


def small_rsa(bits: int, exponent: int = 65537) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "weak"}


@pytest.mark.parametrize(
    "jwk",
    [
        small_rsa(1024),
        {**ONE.jwk, "n": "AQAB" + "A" * 2000},
        {**ONE.jwk, "e": "AQ"},
        {**ONE.jwk, "e": "Ag"},
        {**ONE.jwk, "n": "not base64 !"},
        {**ONE.jwk, "n": 7},
        {name: value for name, value in ONE.jwk.items() if name != "n"},
        {**ONE.jwk, "kty": "oct", "k": "c2VjcmV0"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
        {**ONE.jwk, "kty": ["RSA"]},
        {**ONE.jwk, "kid": 7},
        {**ONE.jwk, "alg": "none"},
        {**ONE.jwk, "alg": "HS256"},
        {**Signer("p", "ES256").jwk, "crv": "secp256k1"},
        {**Signer("p", "ES256").jwk, "crv": "P-384"},
        {**Signer("p", "ES256").jwk, "x": "AAAA"},
        {**Signer("p", "ES256").jwk, "y": Signer("p", "ES256").jwk["x"]},
        {**Signer("p", "EdDSA").jwk, "crv": "X25519"},
        {**Signer("p", "EdDSA").jwk, "x": "AAAA"},
        "a text",
        None,
        ["kty", "RSA"],
        {},
    ],
    ids=lambda jwk: str(jwk)[:40],
)
def test_a_key_that_may_not_sign_is_left_out(jwk: Any) -> None:
    assert [key.kid for key in read_keys({"keys": [jwk, TWO.jwk]})] == ["two"]
    with pytest.raises(ProviderError, match="no key that may sign"):
        read_keys({"keys": [jwk]})


def rsa_jwk(bits: int, exponent: str = "AQAB") -> dict[str, Any]:
    """A public key of this size; nobody has its other half."""
    modulus = (1 << (bits - 1)) + 1
    return {"kty": "RSA", "kid": "sized", "e": exponent, "n": base64url(modulus.to_bytes((bits + 7) // 8, "big"))}


@pytest.mark.parametrize(
    ("jwk", "taken"),
    [
        (rsa_jwk(2047), False),
        (rsa_jwk(2048), True),
        (rsa_jwk(2048, "Aw"), True),
        (rsa_jwk(8192), True),
        (rsa_jwk(8193), False),
    ],
    ids=["2047", "2048", "2048 with exponent 3", "8192", "8193"],
)
def test_rsa_has_from_2048_to_8192_bits(jwk: dict[str, Any], taken: bool) -> None:
    assert [key.kid for key in read_keys({"keys": [jwk, TWO.jwk]})] == (["sized", "two"] if taken else ["two"])


def test_a_set_may_have_64_keys(provider: Provider) -> None:
    provider.published = [{**TWO.jwk, "kid": f"key-{number}"} for number in range(MOST_KEYS)]
    assert is_key(key_set(provider).find("key-63", "RS256", now=START), TWO)


def test_two_keys_of_one_name_are_none(provider: Provider) -> None:
    provider.published = [ONE.jwk, {**TWO.jwk, "kid": "one"}]
    with pytest.raises(Unauthenticated, match="names several keys"):
        key_set(provider).find("one", "RS256", now=START)


@pytest.mark.parametrize("listed", [None, {}, "keys", 7, [TWO.jwk] * (MOST_KEYS + 1)], ids=str)
def test_a_set_without_a_list_of_bearable_length_is_refused(listed: Any) -> None:
    with pytest.raises(ProviderError, match="list `keys` of at most 64"):
        read_keys({"keys": listed})


def test_a_key_without_alg_serves_its_whole_family_and_no_other(provider: Provider) -> None:
    provider.published = [{name: value for name, value in ONE.jwk.items() if name not in ("alg", "use")}]
    keys = key_set(provider)
    for algorithm in ("RS256", "RS512", "PS256"):
        assert is_key(keys.find("one", algorithm, now=START), ONE)
    for algorithm in ("ES256", "EdDSA", "HS256", "none"):
        with pytest.raises(GatewayError, match="names no key"):
            keys.find("one", algorithm, now=START)


def test_certificates_and_unknown_members_of_a_key_do_not_matter(provider: Provider) -> None:
    provider.published = [{**ONE.jwk, "x5c": ["MIIB"], "x5t": "abc", "key_ops": ["verify"], "unknown": {"a": 1}}]
    assert is_key(key_set(provider).find("one", "RS256", now=START), ONE)


def test_without_a_kid_only_a_set_of_one_key_is_clear(provider: Provider) -> None:
    keys = key_set(provider)
    assert is_key(keys.find(None, "RS256", now=START), ONE)
    provider.rotate("two", keep=True)
    with pytest.raises(Unauthenticated, match="names no key"):
        keys.find(None, "RS256", now=START + REFRESH)


def test_nobody_who_has_the_key_waits_for_a_provider_that_is_slow(desk: LoginDesk) -> None:
    """One refresh is on its way and does not come back; logins by known keys go on meanwhile."""
    keys = key_set(desk.provider)
    keys.find("one", "RS256", now=desk.provider.now)
    asked, answer = threading.Event(), threading.Event()

    def slow(request: httpx2.Request) -> httpx2.Response:
        asked.set()
        assert answer.wait(20)
        return desk.provider.keys(request)

    desk.passes(timedelta(minutes=6))
    desk.provider.answers[KEYS] = slow
    waiting = threading.Thread(target=keys.find, args=("one", "RS256"), kwargs={"now": desk.provider.now}, daemon=True)
    waiting.start()
    assert asked.wait(20)
    assert keys.find("one", "RS256", now=desk.provider.now) is not None, "and it did not wait"
    assert waiting.is_alive()
    answer.set()
    waiting.join(20)
    assert not waiting.is_alive()


def test_who_waits_for_an_unknown_key_takes_what_the_other_has_fetched(desk: LoginDesk) -> None:
    keys = key_set(desk.provider)
    keys.find("one", "RS256", now=desk.provider.now)
    desk.passes(timedelta(minutes=2))
    desk.provider.rotate("two", keep=True)
    asked, answer = threading.Event(), threading.Event()

    def slow(request: httpx2.Request) -> httpx2.Response:
        asked.set()
        assert answer.wait(20)
        return desk.provider.keys(request)

    desk.provider.answers[KEYS] = slow
    before = desk.asked([KEYS])
    found: list[object] = []
    both = [
        threading.Thread(target=lambda: found.append(keys.find("two", "RS256", now=desk.provider.now)), daemon=True)
        for _ in range(5)
    ]
    for one in both:
        one.start()
    assert asked.wait(20)
    answer.set()
    for one in both:
        one.join(20)
    assert (len(found), desk.asked([KEYS])) == (5, before + 1)
