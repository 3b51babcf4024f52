"""The constants of WireGuard (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", sections 5 and 6).

Times are in seconds. Where the paper is silent the values are those of the kernel's implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s

Entropy = Callable[[int], bytes]
"""Gives that many unpredictable bytes."""

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"

INITIAL_CHAIN = blake2s(CONSTRUCTION).digest()
INITIAL_HASH = blake2s(INITIAL_CHAIN + IDENTIFIER).digest()

REKEY_AFTER_MESSAGES = 2**60
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1
REKEY_AFTER_TIME = 120.0
REJECT_AFTER_TIME = 180.0
REKEY_ATTEMPT_TIME = 90.0
REKEY_TIMEOUT = 5.0
REKEY_TIMEOUT_JITTER = 0.334
KEEPALIVE_TIMEOUT = 10.0
COOKIE_LIFETIME = 120.0
COOKIE_LATENCY = 5.0
"""A cookie is not used in its last seconds, in which the sender of it may already have changed its secret."""
HANDSHAKE_INTERVAL = 0.020
"""At most 50 initiations per second from one peer are answered."""
TIMESTAMP_GRAIN = 2**24
"""Nanoseconds to which TAI64N is cut, about 16.8 ms, so that it is no oracle for the sender's clock."""
UNDER_LOAD_TIME = 1.0

PADDING = 16
WINDOW = 8128
"""How far behind the highest counter one may arrive."""
MAX_PEERS = 65_536
MAX_STAGED = 128
"""Frames that wait for a handshake, per peer."""
KEY = 32
TAG = 16
