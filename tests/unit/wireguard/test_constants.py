"""Every constant of the paper (section 6.1) and of the implementations that people run, by name and value."""

from __future__ import annotations

import pytest

from gateway.packet import flows
from gateway.wireguard import messages, outbox, ratelimit, spec, timers

PAPER = {
    "REKEY_AFTER_MESSAGES": 2**60,
    "REJECT_AFTER_MESSAGES": 2**64 - 2**13 - 1,
    "REKEY_AFTER_TIME": 120,
    "REJECT_AFTER_TIME": 180,
    "REKEY_ATTEMPT_TIME": 90,
    "REKEY_TIMEOUT": 5,
    "KEEPALIVE_TIMEOUT": 10,
    "COOKIE_LIFETIME": 120,
    "PADDING": 16,
    "CONSTRUCTION": b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    "IDENTIFIER": b"WireGuard v1 zx2c4 Jason@zx2c4.com",
    "LABEL_MAC1": b"mac1----",
    "LABEL_COOKIE": b"cookie--",
}
IMPLEMENTATIONS = {
    "REKEY_TIMEOUT_JITTER": 0.334,
    "HANDSHAKE_INTERVAL": 1 / 50,
    "TIMESTAMP_GRAIN": 2**24,
    "UNDER_LOAD_TIME": 1,
    "WINDOW": 8192 - 64,
    "MAX_PEERS": 65_536,
    "MAX_STAGED": 128,
}


@pytest.mark.parametrize(("name", "value"), [*PAPER.items(), *IMPLEMENTATIONS.items()])
def test_the_constant_is_that_of_the_field(name: str, value: object) -> None:
    assert getattr(spec, name) == value


def test_the_hash_of_the_construction_is_what_everybody_begins_with() -> None:
    """Paper section 5.4: both are the same for all WireGuards, so they are known numbers."""
    assert spec.INITIAL_CHAIN.hex() == "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"
    assert spec.INITIAL_HASH.hex() == "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3"


def test_the_four_messages_have_their_sizes() -> None:
    assert messages.SIZES == {messages.INITIATION: 148, messages.RESPONSE: 92, messages.COOKIE_REPLY: 64}
    assert messages.TRANSPORT_MINIMUM == 32


def test_the_limits_of_the_handshake_limiter_are_the_kernels() -> None:
    assert (ratelimit.PACKETS_PER_SECOND, ratelimit.BURST) == (20, 5)


def test_an_eighth_of_the_kernels_handshake_queue_means_load() -> None:
    """The kernel calls itself loaded from 1,024 / 8 waiting handshakes on; without a queue, that many at once."""
    assert ratelimit.Load.CAPACITY == 1024 / 8


def test_eighteen_attempts_fill_ninety_seconds() -> None:
    assert timers.MAX_ATTEMPTS == 18


def test_a_train_fits_into_one_datagram_of_the_network_and_one_system_call() -> None:
    assert outbox.MAX_TRAIN == 65_535 - 20 - 8
    assert outbox.MAX_TRAIN_SEGMENTS <= 64


def test_idle_flows_outlive_what_the_standards_promise() -> None:
    """RFC 5382 (TCP: 2 h 4 min) and RFC 4787 (UDP: 2 min)."""
    assert flows.IDLE[6] >= 7440
    assert flows.IDLE[17] >= 120
