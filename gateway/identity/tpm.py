"""What a TPM 2.0 proves, checked with `cryptography` alone: whose chip it is, that a key lives in it, what it has measured.

Structures are those of the TPM 2.0 Library, part 2; making a credential is part 1 section 24. Every reader here takes bytes
of strangers and raises Malformed or Unauthenticated, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from gateway.errors import Malformed, Unauthenticated

SHA256, ECC, ECDSA, P256, NULL = 0x000B, 0x0023, 0x0018, 0x0003, 0x0010
GENERATED, QUOTE = 0xFF544347, 0x8018
FIXED_TPM, FIXED_PARENT, ORIGIN, RESTRICTED, SIGN, DECRYPT = 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 18, 1 << 17
LARGEST = 8192
"""Bytes of a certificate, a public area or a quote; ours have some hundreds."""
PCRS = range(24)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """The endorsement key of a genuine chip, by a certificate that a trusted maker has issued. Made only in this file."""

    fingerprint: str
    public_key: rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """A key that signs only what its TPM says, if it is a TPM's at all: `challenge` finds out. `name` is the TPM's own."""

    area: bytes
    name: bytes
    public_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Challenge:
    """A secret that only the TPM with the endorsement key can read, and only for the attestation key of that name."""

    credential: bytes
    encrypted_seed: bytes


def endorsement(certificate: bytes, roots: Iterable[x509.Certificate], *, now: datetime) -> Endorsement:
    """Verify an endorsement certificate (DER) up to one of the makers' certificates. Raises Unauthenticated, or Malformed."""
    try:
        found = x509.load_der_x509_certificate(certificate[:LARGEST])
        key = found.public_key()
    except ValueError:
        raise Malformed("tpm-certificate", "the endorsement certificate is no X.509 certificate") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in (2048, 3072, 4096):
        raise Malformed("tpm-certificate", "the endorsement key must be RSA with 2048 to 4096 bits")
    if not _current(found, now) or not any(_issued(found, root) for root in _chain(found, list(roots), now=now)):
        raise Unauthenticated(
            "tpm-untrusted", "the endorsement certificate is of no maker that SALLYPORT_TPM_ROOTS names"
        )
    return Endorsement(found.fingerprint(hashes.SHA256()).hex(), key)


def attestation_key(area: bytes) -> AttestationKey:
    """Read a TPMT_PUBLIC: a restricted P-256 signing key that never leaves its TPM. Raises Malformed."""
    wrong = Malformed("tpm-key", "the attestation key must be a restricted ECDSA P-256 key that is fixed to its TPM")
    try:
        kind, name_alg, attributes, policy = struct.unpack_from(">HHIH", area)
        symmetric, scheme, digest, curve, kdf, size = struct.unpack_from(">HHHHHH", area, 10 + policy)
        at = 22 + policy
        x, more = area[at : at + size], area[at + size :]
        y = more[2 : 2 + struct.unpack_from(">H", more)[0]]
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        public_key = point.public_key()
    except (struct.error, ValueError):
        raise wrong from None
    needed = FIXED_TPM | FIXED_PARENT | ORIGIN | RESTRICTED | SIGN
    sound = (kind, name_alg, symmetric, scheme, digest, curve, kdf) == (ECC, SHA256, NULL, ECDSA, SHA256, P256, NULL)
    if not sound or attributes & (needed | DECRYPT) != needed or len(area) != at + size + 2 + len(y):
        raise wrong
    return AttestationKey(area, struct.pack(">H", SHA256) + hashlib.sha256(area).digest(), public_key)


def challenge(
    endorsed: Endorsement, key: AttestationKey, secret: bytes, *, entropy: Callable[[int], bytes] = os.urandom
) -> Challenge:
    """Wrap `secret` so that TPM2_ActivateCredential gives it back only where both keys live (part 1, section 24)."""
    seed = entropy(32)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=b"IDENTITY\0")
    encrypted = endorsed.public_key.encrypt(seed, oaep)
    storage = _kdf(seed, b"STORAGE", key.name, 128)
    encryptor = Cipher(algorithms.AES(storage), CFB(bytes(16))).encryptor()
    identity = encryptor.update(_sized(secret)) + encryptor.finalize()
    integrity = hmac.digest(_kdf(seed, b"INTEGRITY", b"", 256), identity + key.name, "sha256")
    return Challenge(_sized(_sized(integrity) + identity), _sized(encrypted))


def verify_quote(area: bytes, quoted: bytes, signature: bytes, nonce: bytes, pcrs: Mapping[int, bytes]) -> None:
    """Check that the TPM with this attestation key says these values of its PCRs, in answer to `nonce`.

    `signature` is r and s, 32 bytes each. Raises Unauthenticated `tpm-quote`, or Malformed.
    """
    key = attestation_key(area)
    if len(quoted) > LARGEST or len(signature) != 64:
        raise Malformed("tpm-quote", "the quote or its signature is longer than any honest one")
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        key.public_key.verify(encode_dss_signature(r, s), quoted, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Unauthenticated("tpm-quote", "the quote is not signed by this device's attestation key") from None
    extra, selected, digest = _quote(quoted)
    if not hmac.compare_digest(extra, nonce):
        raise Unauthenticated("tpm-quote", "the quote answers another question: its nonce is not this report's")
    if selected != sorted(pcrs) or digest != hashlib.sha256(b"".join(pcrs[n] for n in selected)).digest():
        raise Unauthenticated("tpm-quote", "the quote is of other PCRs, or of other values, than the report says")


def _quote(quoted: bytes) -> tuple[bytes, list[int], bytes]:
    """Read a TPMS_ATTEST of a quote over one SHA-256 bank: its extra data, the PCRs, the digest of their values."""
    try:
        magic, kind, signer = struct.unpack_from(">IHH", quoted)
        at = 8 + signer
        size = struct.unpack_from(">H", quoted, at)[0]
        extra, at = quoted[at + 2 : at + 2 + size], at + 2 + size + 17 + 8  # clock and firmware are not looked at
        banks, algorithm, octets = struct.unpack_from(">IHB", quoted, at)
        bits, at = quoted[at + 7 : at + 7 + octets], at + 7 + octets
        length = struct.unpack_from(">H", quoted, at)[0]
        digest = quoted[at + 2 : at + 2 + length]
    except struct.error:
        raise Malformed("tpm-quote", "the quote is no TPMS_ATTEST") from None
    if (magic, kind, banks, algorithm) != (GENERATED, QUOTE, 1, SHA256) or at + 2 + length != len(quoted):
        raise Malformed("tpm-quote", "the quote must be a TPM's own, over one bank of SHA-256")
    return extra, [8 * n + bit for n, octet in enumerate(bits) for bit in range(8) if octet >> bit & 1], digest


def _chain(
    certificate: x509.Certificate, roots: list[x509.Certificate], *, now: datetime
) -> Iterable[x509.Certificate]:
    """The trusted certificates that may have issued this one. Intermediate makers stand in the same file."""
    return (root for root in roots if root.subject == certificate.issuer and _current(root, now) and _authority(root))


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _current(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _kdf(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa of part 1 section 11.4.10.2; no more than one block of SHA-256 is ever asked for."""
    message = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
    return hmac.digest(key, message, "sha256")[: bits // 8]


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
