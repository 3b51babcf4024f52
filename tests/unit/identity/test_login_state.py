"""The sealed cookie between leaving for the provider and coming back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import Unauthenticated
from gateway.identity.compact import base64url, base64url_decode
from gateway.identity.login_state import CLOCK_STEP, LIFETIME, LoginState, seal, unseal
from tests.sim.provider import START

KEY = bytes(range(32))
STATE = LoginState("enrolment:abc", "s" * 43, "n" * 43, "v" * 43, START)
SECOND = timedelta(seconds=1)


def refusal(cookie: str, *, key: bytes = KEY, now: timedelta = timedelta()) -> str:
    with pytest.raises(Unauthenticated) as refused:
        unseal(cookie, key, now=START + now)
    assert refused.value.code == "login-state"
    return str(refused.value)


@pytest.mark.parametrize("purpose", ["admin", "enrolment:abc", "ä ☃ 𐍈", ""])
def test_what_is_sealed_comes_back(purpose: str) -> None:
    state = replace(STATE, purpose=purpose, begun_at=START + timedelta(microseconds=123456))
    assert unseal(seal(state, KEY), KEY, now=START + SECOND) == state


def test_a_cookie_says_nothing_and_never_the_same_twice() -> None:
    cookies = {seal(STATE, KEY) for _ in range(100)}
    assert len(cookies) == 100
    for cookie in cookies:
        assert len(cookie) < 1024
        assert b"enrolment" not in base64url_decode(cookie)
        assert STATE.verifier.encode() not in base64url_decode(cookie)


def test_a_state_lives_for_ten_minutes() -> None:
    cookie = seal(STATE, KEY)
    assert unseal(cookie, KEY, now=START + LIFETIME - SECOND) == STATE
    assert "ten minutes" in refusal(cookie, now=LIFETIME)


def test_a_state_from_the_future_is_refused() -> None:
    cookie = seal(STATE, KEY)
    assert unseal(cookie, KEY, now=START - CLOCK_STEP) == STATE
    refusal(cookie, now=-CLOCK_STEP - SECOND)


def test_a_cookie_of_another_gateway_is_refused() -> None:
    assert "did not begin" in refusal(seal(STATE, KEY), key=bytes(32))


def test_every_flipped_bit_is_noticed() -> None:
    sealed = base64url_decode(seal(STATE, KEY))
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert "did not begin" in refusal(base64url(bytes(flipped)))


def test_every_shortened_or_prolonged_cookie_is_refused() -> None:
    cookie = seal(STATE, KEY)
    for length in range(len(cookie)):
        refusal(cookie[:length])
    for more in ("A", "AA", "AAAA", "=", "==", "\n", " ", "\0", "é", "\ud800"):
        refusal(cookie + more)
        refusal(more + cookie)


@pytest.mark.parametrize("cookie", ["", "A", "AAAA", "A" * 16, "A" * 4096, "A" * 100_000, "{}", "é", "..", "\ud800"])
def test_a_text_that_is_no_cookie_is_refused(cookie: str) -> None:
    refusal(cookie)


def test_the_parts_of_two_cookies_make_no_third() -> None:
    one, other = (base64url_decode(seal(replace(STATE, state=name * 43), KEY)) for name in "ab")
    for at in (12, 40, len(one) - 16):
        refusal(base64url(one[:at] + other[at:]))


def test_what_the_key_sealed_for_another_purpose_is_no_state() -> None:
    members = json.dumps({"purpose": "admin", "state": "s", "nonce": "n", "verifier": "v", "begun_at": 0}).encode()
    for context in (b"", None, b"sallyport login state 1"):
        refusal(base64url(bytes(12) + AESGCM(KEY).encrypt(bytes(12), members, context)))
