"""The pieces of the protocol: replay window, macs and cookies, limits, key derivation."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from gateway.wireguard import noise
from gateway.wireguard.cookie import CookieChecker, CookieJar, xchacha_open, xchacha_seal
from gateway.wireguard.handshaking import tai64n
from gateway.wireguard.keypair import ReplayWindow
from gateway.wireguard.messages import MACS, CookieReply
from gateway.wireguard.ratelimit import BURST, HandshakeLimiter, Load
from gateway.wireguard.spec import COOKIE_LIFETIME, REJECT_AFTER_MESSAGES, WINDOW
from tests.sim.wire import entropy, public_key

A, B = bytes([1]) * 32, bytes([2]) * 32
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


def test_every_counter_is_accepted_once():
    window = ReplayWindow()
    assert window.accept(5)
    assert not window.accept(5)
    assert window.accept(3)
    assert not window.accept(3)


@pytest.mark.parametrize(("behind", "accepted"), [(WINDOW - 1, True), (WINDOW, True), (WINDOW + 1, False)])
def test_the_window_is_exactly_as_long_as_it_says(behind, accepted):
    window = ReplayWindow()
    window.accept(100_000)
    assert window.accept(100_000 - behind) is accepted


@pytest.mark.parametrize("jump", [1, 2, 63, 64, WINDOW - 1, WINDOW, WINDOW + 1, 10 * WINDOW])
def test_a_jump_ahead_forgets_nothing_that_is_inside_the_window(jump):
    window = ReplayWindow()
    window.accept(50)
    window.accept(50 + jump)
    assert not window.accept(50)
    assert window.accept(51) is (jump > 1 and jump - 1 <= WINDOW)


def test_the_last_counters_are_never_accepted():
    window = ReplayWindow()
    assert window.accept(REJECT_AFTER_MESSAGES - 1)
    assert not window.accept(REJECT_AFTER_MESSAGES)
    assert not window.accept(2**64 - 1)


@pytest.mark.parametrize("key", LOW_ORDER)
def test_low_order_keys_are_refused(key):
    with pytest.raises(noise.HandshakeError):
        noise.dh(noise.clamp(A), key)


@pytest.mark.parametrize("size", [0, 1, 32, 64, 200])
def test_our_hmac_is_that_of_the_standard_library(size):
    data = bytes(range(size % 256)) * 1
    assert noise.hmac(A, data) == hmac.new(A, data, hashlib.blake2s).digest()


def handshake(psk_a=bytes(32), psk_b=bytes(32)):
    mine, theirs = noise.StaticKey.of(A), noise.StaticKey.of(B)
    shared = noise.dh(mine.private, theirs.public)
    state, message = noise.initiate(
        mine, theirs.public, shared, sender=7, timestamp=bytes(12), ephemeral=bytes([3]) * 32
    )
    static, transcript = noise.peek(theirs, message)
    assert static == mine.public
    consumed = noise.consume(static, transcript, shared, message)
    theirs_keys, response = noise.respond(consumed, psk_b, sender=9, ephemeral=bytes([4]) * 32)
    return noise.finish(mine, state, psk_a, response), theirs_keys


def test_both_sides_derive_the_same_keys_crosswise():
    one, other = handshake()
    assert (one.send, one.receive) == (other.receive, other.send)
    assert one.send != one.receive


def test_a_preshared_key_changes_the_keys_and_a_wrong_one_fails():
    assert handshake()[0] != handshake(psk_a=b"p" * 32, psk_b=b"p" * 32)[0]
    with pytest.raises(noise.HandshakeError):
        handshake(psk_a=b"p" * 32, psk_b=b"q" * 32)


def test_timestamps_grow_and_hide_the_last_24_bits_of_nanoseconds():
    stamps = [tai64n(1_800_000_000 + n * 0.02) for n in range(100)]
    assert stamps == sorted(set(stamps))
    assert all(int.from_bytes(s[8:], "big") & 0xFFFFFF == 0 for s in stamps)
    assert tai64n(0)[:8] == bytes.fromhex("400000000000000a")


def cookies():
    public = public_key(B)
    return CookieChecker(public, entropy(5)), CookieJar(public)


def test_mac1_needs_the_responders_public_key():
    checker, jar = cookies()
    signed = jar.sign(bytes(116), now=0.0)
    assert checker.mac1_holds(signed)
    assert not checker.mac1_holds(signed[:5] + b"x" + signed[6:])
    assert not checker.mac1_holds(CookieJar(public_key(A)).sign(bytes(116), now=0.0))


def test_a_cookie_is_good_for_its_address_and_its_time():
    checker, jar = cookies()
    first = jar.sign(bytes(116), now=0.0)
    assert first[-16:] == bytes(16)
    assert not checker.mac2_holds(first, b"addr", now=0.0)
    reply = checker.reply(first, b"addr", 7, now=0.0)
    assert len(reply) < len(first)
    assert jar.take(CookieReply.unpack(reply), now=0.0)
    second = jar.sign(bytes(116), now=1.0)
    assert checker.mac2_holds(second, b"addr", now=1.0)
    assert not checker.mac2_holds(second, b"other", now=1.0)
    assert not checker.mac2_holds(second, b"addr", now=COOKIE_LIFETIME + 1)
    assert jar.sign(bytes(116), now=COOKIE_LIFETIME)[-16:] == bytes(16)


def test_a_cookie_that_answers_another_message_is_refused():
    checker, jar = cookies()
    reply = CookieReply.unpack(checker.reply(jar.sign(bytes(116), now=0.0), b"addr", 7, now=0.0))
    jar.sign(bytes(115) + b"\1", now=0.0)
    assert not jar.take(reply, now=0.0)


def test_a_cookie_reply_is_taken_once():
    checker, jar = cookies()
    reply = CookieReply.unpack(checker.reply(jar.sign(bytes(116), now=0.0), b"addr", 7, now=0.0))
    assert jar.take(reply, now=0.0)
    assert not jar.take(reply, now=0.0)


def test_xchacha_opens_what_it_sealed():
    sealed = xchacha_seal(A, bytes(24), b"cookie", b"mac")
    assert xchacha_open(A, bytes(24), sealed, b"mac") == b"cookie"
    assert len(sealed) == 6 + 16
    assert MACS == 32


def test_the_handshake_limiter_allows_a_burst_and_then_twenty_a_second():
    limiter = HandshakeLimiter()
    v4 = b"\x0a\0\0\1"
    assert [limiter.allow(v4, now=0.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    assert limiter.allow(v4, now=0.051)
    assert not limiter.allow(v4, now=0.052)
    assert limiter.allow(b"\x0a\0\0\2", now=0.052)


def test_ipv6_sources_are_limited_by_their_64_bit_prefix():
    limiter = HandshakeLimiter()
    for host in range(int(BURST)):
        assert limiter.allow(b"\xfd" + bytes(14) + bytes([host]), now=0.0)
    assert not limiter.allow(b"\xfd" + bytes(14) + b"\xff", now=0.0)
    assert limiter.allow(b"\xfd\1" + bytes(14), now=0.0)


def test_load_begins_with_a_flood_and_ends_a_second_after_it():
    load = Load()
    assert not any(load.arrived(now=n / 100) for n in range(1000))
    assert any(load.arrived(now=20 + n / 10_000) for n in range(1000))
    assert load.arrived(now=20.15)
    assert not load.arrived(now=22.0)


def test_no_two_cookie_replies_have_the_same_nonce_not_even_across_a_change_of_secret():
    checker, jar = cookies()
    signed = jar.sign(bytes(116), now=0.0)
    nonces = [
        CookieReply.unpack(checker.reply(signed, b"addr", 7, now=now)).nonce
        for now in (0.0, 1.0, COOKIE_LIFETIME + 1, 2 * COOKIE_LIFETIME + 2)
        for _ in range(100)
    ]
    assert len(set(nonces)) == len(nonces)
