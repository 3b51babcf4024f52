"""mac1, mac2 and cookies (paper sections 5.3 and 5.4.4, 5.4.7): a loaded responder makes an initiator show its address first."""

from __future__ import annotations

import struct
from hashlib import blake2s
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.packet.checksum import Buffer
from gateway.wireguard.messages import MACS, CookieReply, mac, mac1_key
from gateway.wireguard.spec import COOKIE_LATENCY, COOKIE_LIFETIME, LABEL_COOKIE, Entropy

NO_MAC = bytes(16)
_CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


class CookieChecker:
    """The responder's side."""

    def __init__(self, public_key: bytes, entropy: Entropy) -> None:
        self._mac1_key = mac1_key(public_key)
        self._cookie_key = cookie_key(public_key)
        self._entropy = entropy
        self._secret = entropy(32)
        self._secret_until = float("-inf")
        self._replies = 0

    def mac1_holds(self, datagram: Buffer) -> bool:
        """Say whether the sender knows our public key. One hash: the first thing that a stranger has to pass."""
        return compare_digest(mac(self._mac1_key, datagram[:-MACS]), bytes(datagram[-MACS:-16]))

    def mac2_holds(self, datagram: Buffer, source: bytes, *, now: float) -> bool:
        """Say whether the sender has our cookie for the address and port that it seems to come from."""
        mac2 = bytes(datagram[-16:])
        if mac2 == NO_MAC:  # how a flood arrives, and every first message: they cost no hash
            return False
        return compare_digest(mac(self._cookie(source, now=now), datagram[:-16]), mac2)

    def reply(self, datagram: Buffer, source: bytes, sender: int, *, now: float) -> bytes:
        """Give the cookie reply for a handshake message; it is smaller than the message."""
        cookie = self._cookie(source, now=now)
        tail = self._replies.to_bytes(8, "little")
        self._replies += 1
        sealed = self._cipher.encrypt(bytes(4) + tail, cookie, bytes(datagram[-MACS:-16]))
        return CookieReply(sender, self._prefix + tail, sealed).pack()

    def _cookie(self, source: bytes, *, now: float) -> bytes:
        if now >= self._secret_until:
            self._secret = self._entropy(32)
            self._secret_until = now + COOKIE_LIFETIME
            # 16 fresh bytes and a count make nonces that are as unique as 24 random bytes, at a third of the cost.
            self._prefix, self._replies = self._entropy(16), 0
            self._cipher = ChaCha20Poly1305(hchacha20(self._cookie_key, self._prefix))
        return mac(self._secret, source)


class CookieJar:
    """The initiator's side: signs our messages to one peer, with its last cookie while that is good."""

    def __init__(self, public_key: bytes) -> None:
        self._mac1_key = mac1_key(public_key)
        self._cookie_key = cookie_key(public_key)
        self._cookie = NO_MAC
        self._until = float("-inf")
        self._last_mac1: bytes | None = None

    def sign(self, message: bytes, *, now: float) -> bytes:
        """Append mac1 and mac2."""
        self._last_mac1 = mac(self._mac1_key, message)
        signed = message + self._last_mac1
        return signed + (mac(self._cookie, signed) if now < self._until else NO_MAC)

    def take(self, reply: CookieReply, *, now: float) -> bool:
        """Keep the cookie of a reply to our last message; False when it is not one."""
        if self._last_mac1 is None:
            return False
        try:
            self._cookie = xchacha_open(self._cookie_key, reply.nonce, reply.cookie, self._last_mac1)
        except InvalidTag:
            return False
        self._until = now + COOKIE_LIFETIME - COOKIE_LATENCY
        self._last_mac1 = None
        return True


def cookie_key(public_key: bytes) -> bytes:
    """Give the key under which the owner of `public_key` sends cookies."""
    return blake2s(LABEL_COOKIE + public_key).digest()


def xchacha_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a 24-byte nonce."""
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plaintext, associated)


def xchacha_open(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Undo `xchacha_seal`. Raises InvalidTag."""
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).decrypt(bytes(4) + nonce[16:], ciphertext, associated)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 (the same draft, section 2.2): a ChaCha20 block of which the added initial state is taken away again."""
    block = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", block)
    initial = (*_CONSTANTS, *struct.unpack("<4I", nonce))
    ends = (*words[:4], *words[12:])
    return struct.pack("<8I", *((word - start) & 0xFFFFFFFF for word, start in zip(ends, initial, strict=True)))
