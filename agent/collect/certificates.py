"""What a policy may want to know of a certificate, read from PEM or DER. Keys are neither read nor needed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agent.collect.reading import Unreadable, text

if TYPE_CHECKING:
    from cryptography import x509

MOST: Final = 200
_PEM: Final = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----")
"""Base64 has no dash, and without one in between a file of beginnings takes no longer than its length."""


def described(data: bytes) -> list[dict[str, Any]]:
    """Describe every certificate in a file. Raises Unreadable when there is none, or one that cannot be read."""
    found = [_described(certificate) for certificate in _certificates(data)]
    if not found:
        raise Unreadable("there is no certificate")
    return found


def ordered(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, by its fingerprint. Raises Unreadable when there are too many to report."""
    unique = {each["sha256"]: each for each in found}
    if len(unique) > MOST:
        raise Unreadable(f"there are {len(unique)} certificates, and {MOST} can be reported")
    return [unique[name] for name in sorted(unique)]


def _certificates(data: bytes) -> Iterator[x509.Certificate]:
    from cryptography import x509  # noqa: PLC0415  5 MiB that a machine without certificates of its own never needs

    blocks = _PEM.findall(data)
    try:
        for block in blocks:
            yield x509.load_pem_x509_certificate(block.replace(b"TRUSTED ", b""))
        if not blocks and data[:1] == b"\x30":
            yield x509.load_der_x509_certificate(data)
    except ValueError:
        raise Unreadable("there is a certificate that cannot be read") from None


def _described(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "subject": _name(certificate, "subject"),
        "issuer": _name(certificate, "issuer"),
        "sha256": hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        "not_before": certificate.not_valid_before_utc.timestamp(),
        "not_after": certificate.not_valid_after_utc.timestamp(),
    }


def _name(certificate: x509.Certificate, which: str) -> str:
    try:
        name: x509.Name = getattr(certificate, which)
        return text(name.rfc4514_string()) or "(empty)"
    except ValueError:
        return "(unreadable)"
