"""The vectors that the maintainers of `cryptography` collected: RFC 7748, OpenSSL's, BoringSSL's, BLAKE2's reference."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.wireguard import noise
from tests.vectors.sources import nist, value


def test_x25519() -> None:
    records = list(nist("asymmetric/X25519/rfc7748.txt"))
    for record in records:
        scalar, point = value(record["INPUT_SCALAR"]), value(record["INPUT_U"])
        assert noise.dh(scalar, point) == value(record["OUTPUT_U"])
    assert len(records) == 3


def test_x25519_a_thousand_times_over() -> None:
    """RFC 7748 section 5.2: scalar and point change places after every step."""
    scalar = point = b"\t" + bytes(31)
    for _ in range(1000):
        scalar, point = noise.dh(scalar, point), scalar
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


@pytest.mark.parametrize(
    ("name", "message", "nonce", "aad"), [("boringssl", "IN", "NONCE", "AD"), ("openssl", "PLAINTEXT", "IV", "AAD")]
)
def test_chacha20_poly1305(name: str, message: str, nonce: str, aad: str) -> None:
    valid = 0
    for record in nist(f"ciphers/ChaCha20Poly1305/{name}.txt"):
        cipher = ChaCha20Poly1305(value(record["KEY"]))
        sealed = value(record.get("CT", record.get("CIPHERTEXT", ""))) + value(record["TAG"])[:16]
        if len(value(record[nonce])) != 12 or len(value(record["TAG"])) != 16:
            continue  # neither occurs in WireGuard
        if "RESULT" in record:
            with pytest.raises(InvalidTag):
                cipher.decrypt(value(record[nonce]), sealed, value(record[aad]))
            continue
        assert cipher.decrypt(value(record[nonce]), sealed, value(record[aad])) == value(record[message])
        valid += 1
    assert valid > 3


def test_blake2s() -> None:
    records = list(nist("hashes/blake2/blake2s.txt", begins="Len"))
    for record in records:
        message = value(record["MSG"])[: int(record["LEN"]) // 8]
        assert hashlib.blake2s(message).hexdigest() == record["MD"]
    assert len(records) >= 6
