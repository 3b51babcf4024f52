"""Attestation: a device proves its TPM once, and from then on its reports may carry what the TPM itself states.

Facts that begin with `tpm.` are the TPM's word and have the grade hardware-attested (`policy/evidence.py`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta

from cryptography import x509
from sqlmodel import Session

from agent.wire import Fact, PostureReport
from gateway.access import audit, devices
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest
from gateway.errors import Conflict, Unauthenticated
from gateway.identity import tpm
from gateway.policy.evidence import ATTESTED
from gateway.store import tables

CHALLENGE_LIFETIME = timedelta(minutes=2)
SECRET_SIZE = 32


def begin(
    db: Session,
    device: str,
    certificate: bytes,
    area: bytes,
    roots: tuple[x509.Certificate, ...],
    *,
    now: datetime,
    entropy: Entropy,
) -> tpm.Challenge:
    """Challenge the device to show that both keys live in one genuine TPM. Raises Unauthenticated, or Malformed."""
    row = devices.enrolled(db, device)
    endorsed, key, secret = (
        tpm.endorsement(certificate, roots, now=now),
        tpm.attestation_key(area),
        entropy(SECRET_SIZE),
    )
    pending = {
        "endorsement": endorsed.fingerprint,
        "key": base64.b64encode(area).decode(),
        "digest": digest(secret.hex()),
        "until": (now + CHALLENGE_LIFETIME).timestamp(),
    }
    row.attestation = {**(row.attestation or {}), "pending": pending}
    return tpm.challenge(endorsed, key, secret, entropy=entropy)


def finish(db: Session, device: str, secret: bytes, *, now: datetime) -> None:
    """Take the answer to the challenge, once. Raises Conflict without a challenge, Unauthenticated for a wrong answer."""
    row = devices.enrolled(db, device)
    pending = (row.attestation or {}).get("pending")
    if pending is None or pending["until"] <= now.timestamp():
        raise Conflict("tpm-challenge", "there is no challenge, or it took too long; ask for another one")
    if not hmac.compare_digest(digest(secret.hex()), pending["digest"]):
        raise Unauthenticated("tpm-activation", "this is not the secret of the challenge: the keys are not of one TPM")
    row.attestation = {"endorsement": pending["endorsement"], "key": pending["key"], "proved_at": now.timestamp()}
    audit.record(db, Event.DEVICE_ATTESTED, now=now, actor=device, device=device, endorsement=pending["endorsement"])


def proved(device: tables.Device) -> bool:
    """Say whether the device has proved its TPM."""
    return "proved_at" in (device.attestation or {})


def told(device: tables.Device, report: PostureReport) -> dict[str, Fact]:
    """Give what the device's TPM states in a report. Raises Unauthenticated for a quote that does not hold; without one
    nothing is attested, which fails whatever asks for it."""
    quote = report.quote
    if quote is None:
        return {}
    if not proved(device):
        raise Unauthenticated("tpm-unproved", "the report carries a quote, and the device has not proved its TPM here")
    assert device.attestation is not None
    area = base64.b64decode(device.attestation["key"])
    tpm.verify_quote(area, quote.quoted, quote.signature, question(report), quote.pcrs)
    pcrs = {str(number): value.hex() for number, value in sorted(quote.pcrs.items())}
    said = {f"{ATTESTED}attested": True, f"{ATTESTED}pcrs": pcrs}
    return {name: Fact(value, "TPM2_Quote", report.issued_at) for name, value in said.items()}


def question(report: PostureReport) -> bytes:
    """What the TPM must have been asked: for this report alone, because its nonce comes from the gateway's last answer."""
    return hashlib.sha256(report.question).digest()
