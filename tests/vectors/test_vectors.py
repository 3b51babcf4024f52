"""The standards' own examples, and conversations recorded with wireguard-go."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.packet import checksum
from gateway.wireguard import cookie, noise
from tests.sim.wire import udp4, udp6
from tests.vectors.transcript import Transcript

HERE = Path(__file__).parent
SUNSCREEN = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
KEY, AAD = bytes(range(0x80, 0xA0)), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")


@pytest.mark.parametrize(
    ("scalar", "point", "result"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "09" + "00" * 31,
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    ],
    ids=["rfc7748-5.2", "rfc7748-6.1-shared", "rfc7748-6.1-public"],
)
def test_x25519(scalar: str, point: str, result: str) -> None:
    assert noise.dh(bytes.fromhex(scalar), bytes.fromhex(point)).hex() == result


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_points_of_low_order_are_refused(point: str) -> None:
    """RFC 7748 section 6.1: an all-zero secret means that the other side contributed nothing."""
    with pytest.raises(noise.HandshakeError):
        noise.dh(bytes([7]) * 32, bytes.fromhex(point))


def test_chacha20_poly1305() -> None:
    sealed = ChaCha20Poly1305(KEY).encrypt(bytes.fromhex("070000004041424344454647"), SUNSCREEN, AAD)
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


def test_hchacha20() -> None:
    derived = cookie.hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    assert derived.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"


def test_xchacha20_poly1305() -> None:
    nonce = bytes(range(0x40, 0x58))
    sealed = cookie.xchacha_seal(KEY, nonce, SUNSCREEN, AAD)
    assert sealed.hex() == (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49"
    )
    assert cookie.xchacha_open(KEY, nonce, sealed, AAD) == SUNSCREEN
    with pytest.raises(InvalidTag):
        cookie.xchacha_open(KEY, nonce, sealed[:-1] + b"\0", AAD)


def test_blake2s() -> None:
    assert hashlib.blake2s(b"abc").hexdigest() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"


def test_blake2s_passes_the_self_test_of_its_rfc() -> None:
    """Every combination of four digest sizes and six input lengths, with and without a key."""
    total = hashlib.blake2s()
    for size in (16, 20, 28, 32):
        for length in (0, 3, 64, 65, 255, 1024):
            data = sequence(length, length)
            total.update(hashlib.blake2s(data, digest_size=size).digest())
            total.update(hashlib.blake2s(data, digest_size=size, key=sequence(size, size)).digest())
    assert total.hexdigest() == "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe"


def sequence(length: int, seed: int) -> bytes:
    """RFC 7693 appendix E: a Fibonacci-like generator of test bytes."""
    a, b, out = (0xDEAD4BAD * seed) & 0xFFFFFFFF, 1, bytearray()
    for _ in range(length):
        a, b = b, (a + b) & 0xFFFFFFFF
        out.append(b >> 24)
    return bytes(out)


def test_the_internet_checksum() -> None:
    """RFC 1071 section 3: the sum of 0001 f203 f4f5 f6f7 is ddf2, and the checksum its complement."""
    assert checksum.finish(checksum.ones_sum(bytes.fromhex("0001f203f4f5f6f7"))) == 0xDDF2 ^ 0xFFFF


@pytest.mark.parametrize("name", ["we-begin", "wireguard-go-begins"])
def test_a_recorded_conversation_gives_the_same_bytes_again(name: str) -> None:
    recorded = Transcript.load(HERE / f"{name}.json")
    assert recorded.replayed() == recorded.steps


def test_the_recordings_hold_whole_conversations() -> None:
    for name, kinds in (
        ("we-begin", ["tun", "out", "in", "out", "in", "inner", "tun", "out", "tun", "out"]),
        ("wireguard-go-begins", ["in", "out", "in", "inner", "tun", "out", "tun", "out"]),
    ):
        steps = Transcript.load(HERE / f"{name}.json").steps
        assert [kind for kind, _ in steps] == kinds
        assert (steps[-4][1], steps[-2][1]) == (
            udp4("10.0.0.2", "10.0.0.1", b"over IPv4").hex(),
            udp6("fd00::2", "fd00::1", b"over IPv6").hex(),
        )


@pytest.mark.parametrize("at", [5, 20, 60, 120, 140])
def test_a_flipped_bit_in_a_recorded_handshake_yields_no_answer(at: int) -> None:
    steps = Transcript.load(HERE / "wireguard-go-begins.json").steps
    datagram = bytearray.fromhex(steps[0][1])
    datagram[at] ^= 1
    fresh = Transcript.begin(knows_endpoint=False)
    answers = fresh.receive(bytes(datagram))
    assert (answers == []) == (at < 132), "mac2 (the last 16 bytes) is not looked at without load"
