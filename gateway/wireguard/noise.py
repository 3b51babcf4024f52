"""The handshake Noise_IKpsk2 (paper section 5.4.1 to 5.4.5; Noise revision 34). Pure: keys, bytes and entropy in and out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.wireguard.messages import Initiation, Response
from gateway.wireguard.spec import INITIAL_CHAIN, INITIAL_HASH, KEY

NONCE0 = bytes(12)
_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))


class HandshakeError(Exception):
    """A handshake message that does not authenticate."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """Our long-term key."""

    private: bytes
    public: bytes

    @classmethod
    def of(cls, private: bytes) -> StaticKey:
        clamped = clamp(private)
        return cls(clamped, _public(clamped))


@dataclass(frozen=True, slots=True)
class Transcript:
    """The running state: chaining key and hash."""

    chain: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Initiated:
    """What the initiator keeps until the response comes."""

    transcript: Transcript
    ephemeral: bytes


@dataclass(frozen=True, slots=True)
class Consumed:
    """What an initiation says, once it has authenticated its sender."""

    transcript: Transcript
    static: bytes
    ephemeral: bytes
    timestamp: bytes
    sender: int


@dataclass(frozen=True, slots=True)
class TransportKeys:
    """The result of both sides, from each one's own view."""

    send: bytes
    receive: bytes


def clamp(private: bytes) -> bytes:
    """Clear and set the bits that RFC 7748 section 5 asks for."""
    return bytes([private[0] & 248]) + private[1:31] + bytes([private[31] & 127 | 64])


def initiate(
    mine: StaticKey, theirs: bytes, static_static: bytes, *, sender: int, timestamp: bytes, ephemeral: bytes
) -> tuple[Initiated, Initiation]:
    """Write a first message. `static_static` is dh(mine, theirs); `ephemeral` are 32 fresh random bytes."""
    ephemeral = clamp(ephemeral)
    public = _public(ephemeral)
    at = _begin(theirs, public)
    chain, key = kdf2(at.chain, dh(ephemeral, theirs))
    static = _seal(key, mine.public, at.hash)
    mixed = _hash(at.hash + static)
    chain, key = kdf2(chain, static_static)
    stamp = _seal(key, timestamp, mixed)
    state = Initiated(Transcript(chain, _hash(mixed + stamp)), ephemeral)
    return state, Initiation(sender, public, static, stamp)


def peek(mine: StaticKey, message: Initiation) -> tuple[bytes, Transcript]:
    """Decrypt who says to be the initiator: one Diffie-Hellman, nothing proved yet. Raises HandshakeError."""
    at = _begin(mine.public, message.ephemeral)
    chain, key = kdf2(at.chain, dh(mine.private, message.ephemeral))
    static = _open(key, message.static, at.hash)
    return static, Transcript(chain, _hash(at.hash + message.static))


def consume(static: bytes, at: Transcript, static_static: bytes, message: Initiation) -> Consumed:
    """Authenticate an initiation of which `peek` gave `static` and `at`. Raises HandshakeError."""
    chain, key = kdf2(at.chain, static_static)
    timestamp = _open(key, message.timestamp, at.hash)
    transcript = Transcript(chain, _hash(at.hash + message.timestamp))
    return Consumed(transcript, static, message.ephemeral, timestamp, message.sender)


def respond(consumed: Consumed, preshared: bytes, *, sender: int, ephemeral: bytes) -> tuple[TransportKeys, Response]:
    """Write the second message and derive the keys. Raises HandshakeError for a low-order key of theirs."""
    ephemeral = clamp(ephemeral)
    public = _public(ephemeral)
    chain = kdf1(consumed.transcript.chain, public)
    mixed = _hash(consumed.transcript.hash + public)
    chain = kdf1(chain, dh(ephemeral, consumed.ephemeral))
    chain = kdf1(chain, dh(ephemeral, consumed.static))
    chain, tau, key = kdf3(chain, preshared)
    mixed = _hash(mixed + tau)
    empty = _seal(key, b"", mixed)
    receive, send = kdf2(chain, b"")
    return TransportKeys(send, receive), Response(sender, consumed.sender, public, empty)


def finish(mine: StaticKey, initiated: Initiated, preshared: bytes, message: Response) -> TransportKeys:
    """Authenticate a response and derive the keys. Raises HandshakeError."""
    chain = kdf1(initiated.transcript.chain, message.ephemeral)
    mixed = _hash(initiated.transcript.hash + message.ephemeral)
    chain = kdf1(chain, dh(initiated.ephemeral, message.ephemeral))
    chain = kdf1(chain, dh(mine.private, message.ephemeral))
    chain, tau, key = kdf3(chain, preshared)
    _open(key, message.empty, _hash(mixed + tau))
    send, receive = kdf2(chain, b"")
    return TransportKeys(send, receive)


def dh(private: bytes, public: bytes) -> bytes:
    """X25519 (RFC 7748). Raises HandshakeError for a low-order `public`, whose result everybody knows."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise HandshakeError("low-order public key") from None


def hmac(key: bytes, data: bytes) -> bytes:
    """HMAC-BLAKE2s (RFC 2104) for keys of at most 64 bytes; by hand because it is half as dear as the library's."""
    padded = key + bytes(64 - len(key))
    return _hash(padded.translate(_OUTER) + _hash(padded.translate(_INNER) + data))


def kdf1(chain: bytes, data: bytes) -> bytes:
    """HKDF (RFC 5869) with one output."""
    return hmac(hmac(chain, data), b"\1")


def kdf2(chain: bytes, data: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs."""
    secret = hmac(chain, data)
    first = hmac(secret, b"\1")
    return first, hmac(secret, first + b"\2")


def kdf3(chain: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """HKDF with three outputs."""
    secret = hmac(chain, data)
    first = hmac(secret, b"\1")
    second = hmac(secret, first + b"\2")
    return first, second, hmac(secret, second + b"\3")


def _begin(responder: bytes, ephemeral: bytes) -> Transcript:
    mixed = _hash(_hash(INITIAL_HASH + responder) + ephemeral)
    return Transcript(kdf1(INITIAL_CHAIN, ephemeral), mixed)


def _hash(data: bytes) -> bytes:
    return blake2s(data).digest()


def _public(private: bytes) -> bytes:
    assert len(private) == KEY
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(NONCE0, plaintext, associated)


def _open(key: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(NONCE0, ciphertext, associated)
    except InvalidTag:
        raise HandshakeError("does not authenticate") from None
