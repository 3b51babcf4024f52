"""Certificates of the device, and authorities that somebody added."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.collect.certificates import described, ordered
from agent.collect.linux import trust
from agent.collect.linux.trust import extra_roots
from agent.collect.reading import Unreadable

BEGINS, ENDS = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def certificate(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(BEGINS).not_valid_after(ENDS)
    return made.sign(key, hashes.SHA256())


def pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.PEM)


def test_a_certificate_is_described_by_names_times_and_fingerprint() -> None:
    made = certificate("laptop-7")
    (found,) = described(b"# a comment\n" + pem(made))
    assert found == {
        "subject": "CN=laptop-7",
        "issuer": "CN=laptop-7",
        "sha256": made.fingerprint(hashes.SHA256()).hex(),
        "not_before": BEGINS.timestamp(),
        "not_after": ENDS.timestamp(),
    }
    assert described(made.public_bytes(Encoding.DER)) == [found]
    assert ordered([found, found]) == [found]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x30\x82",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        pem(certificate("x"))[:200],
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----" * (1 << 16),
    ],
)
def test_what_is_no_certificate_is_not_described(data: bytes) -> None:
    with pytest.raises(Unreadable):
        described(data)


def test_an_authority_that_was_added_shows_wherever_it_was_put(tmp_path: Path) -> None:
    own, added, slipped = certificate("Mozilla"), certificate("Proxy"), certificate("Slipped")
    shipped, anchors, bundle = tmp_path / "shipped", tmp_path / "anchors", tmp_path / "bundle.crt"
    for folder in (shipped, anchors):
        folder.mkdir()
    (shipped / "a.crt").write_bytes(pem(own))
    bundle.write_bytes(pem(own))
    assert extra_roots([anchors], shipped, bundle) == []
    (anchors / "proxy.crt").write_bytes(pem(added))
    bundle.write_bytes(pem(own) + pem(added).replace(b"\n", b"\r\n") + pem(slipped))
    found = ordered(extra_roots([anchors, tmp_path / "none"], shipped, bundle))
    assert {each["subject"] for each in found} == {"CN=Proxy", "CN=Slipped"}


def test_a_device_without_a_list_names_no_certificate_and_says_so(tmp_path: Path) -> None:
    facts = trust.collect(now=1.0)
    assert "names no certificate" in str(facts["certificates.device"].absent)
    (tmp_path / "device.pem").write_bytes(pem(certificate("laptop-7")))
    facts = trust.collect([str(tmp_path / "device.pem")], now=1.0)
    assert facts["certificates.device"].value[0]["subject"] == "CN=laptop-7"
    facts = trust.collect([str(tmp_path / "gone.pem")], now=1.0)
    assert "No such file" in str(facts["certificates.device"].absent)
