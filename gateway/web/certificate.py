"""A certificate for a gateway that has none: an authority of its own, made once, and a leaf that it renews.

An agent pins the authority (`sallyport-agent enrol URL --ca FILE`), so the leaf may change and the pin holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=397)
"""As long as browsers accept."""
RENEW_BEFORE = timedelta(days=30)
BACKDATED = timedelta(hours=1)
"""For agents whose clocks run late."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files: the leaf, its key (0600), and the authority that agents pin."""

    chain: Path
    key: Path
    authority: Path


def ensure(state_dir: Path, public_url: str, *, now: datetime) -> Certificate:
    """Give a certificate for the host of `public_url`, made or renewed if necessary."""
    files = Certificate(state_dir / "tls.crt", state_dir / "tls.key", state_dir / "ca.crt")
    authority_key_file = state_dir / "ca.key"
    if not (files.authority.exists() and authority_key_file.exists()):
        _make_authority(files.authority, authority_key_file, now=now)
        files.chain.unlink(missing_ok=True)
    host = urlsplit(public_url).hostname or "localhost"
    if not _good(files, host, now=now):
        authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
        _make_leaf(files, host, authority, _load_key(authority_key_file), now=now)
    return files


def _good(files: Certificate, host: str, *, now: datetime) -> bool:
    if not (files.chain.exists() and files.key.exists()):
        return False
    leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _name(host) in names and leaf.not_valid_after_utc - RENEW_BEFORE > now


def _make_authority(certificate_file: Path, key_file: Path, *, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sallyport gateway authority")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    made = (
        _builder(name, name, key.public_key(), AUTHORITY_LIFETIME, now=now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _pem(key), 0o600)
    _write(certificate_file, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_leaf(
    files: Certificate,
    host: str,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sallyport gateway")])
    made = (
        _builder(subject, authority.subject, key.public_key(), LEAF_LIFETIME, now=now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(files.key, _pem(key), 0o600)
    _write(files.chain, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta, *, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(file: Path, content: bytes, mode: int) -> None:
    """Replace a file as a whole, and never let its content be readable by others for a moment."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(content)
    fresh.replace(file)
