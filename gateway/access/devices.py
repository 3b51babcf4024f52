"""Enrolled devices: whose key signs, whether it may, that nothing signed is used twice and nobody else signs with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from gateway.access.identifiers import Entropy, new_identifier
from gateway.access.ratchet import Ratchet, Turn
from gateway.errors import Conflict, Forbidden, Malformed, Unauthenticated, Unavailable
from gateway.policy.model import EVERYONE
from gateway.store import tables

PROOF_RETENTION = timedelta(minutes=2)
"""Must outlive the window in which a proof is accepted: 60 s of clock difference to either side."""

MOST_PROOFS = 200_000
"""When so many proofs are remembered, new ones are refused: forgetting one would let it be replayed."""

LONGEST_NONCE = 64


@dataclass(frozen=True, slots=True)
class Admission:
    """Whose devices are admitted without being asked about, and how many devices a user may have."""

    groups: frozenset[str] = frozenset({EVERYONE})
    most_devices: int = 10

    def automatic(self, groups: list[str]) -> bool:
        """Say whether a device of a member of these groups needs nobody's approval."""
        return EVERYONE in self.groups or not self.groups.isdisjoint(groups)


class Forked(Forbidden):
    """Two parties speak with one device key. The caller quarantines the device; this transaction changes nothing."""


def jwk_of(db: Session, device: str) -> Mapping[str, Any]:
    """Give the public key of an enrolled device as a JWK. Raises Unauthenticated for any other."""
    return enrolled(db, device).jwk


def enrolled(db: Session, device: str) -> tables.Device:
    """Give a device that is enrolled and not revoked. Raises Unauthenticated."""
    found = db.get(tables.Device, device)
    if found is None:
        raise Unauthenticated("device-unknown", "this device is not enrolled here; run sallyport-agent enrol")
    refuse_revoked(found)
    return found


def approved(db: Session, device: str) -> tables.Device:
    """Give a device that may open sessions. Raises Unauthenticated, or Forbidden while it waits for approval."""
    found = enrolled(db, device)
    if found.approved_at is None:
        raise Forbidden("device-pending", "this device waits for an administrator's approval")
    return found


def refuse_revoked(device: tables.Device) -> None:
    """Raise Unauthenticated for a device that was revoked: its key is over for good."""
    if device.revoked_at is not None:
        raise Unauthenticated("device-revoked", "an administrator has revoked this device; its key never works again")


def count(db: Session, issuer: str, subject: str) -> int:
    """Count the devices of a user that are not revoked; PostgreSQL holds their rows until the transaction ends."""
    rows = tables.Device
    mine = select(rows.id).where(rows.issuer == issuer, rows.subject == subject, col(rows.revoked_at).is_(None))
    return len(db.exec(mine.with_for_update()).all())


def take_turn(device: tables.Device, nonce: object, *, said_at: datetime, entropy: Entropy) -> tuple[Turn, str]:
    """Let a signed message have its turn. Says which it is, and gives the nonce for the next one.

    A quarantined device is not watched any further: both copies of it have the same, little access. Raises Conflict for
    a message that is not newer than the last one, and Forked when the device has a double.
    """
    if not isinstance(nonce, str) or len(nonce) > LONGEST_NONCE:
        raise Malformed("claims", f"nonce must be a text of at most {LONGEST_NONCE} characters")
    ratchet = Ratchet(device.nonce, device.previous_nonce, device.said_at)
    turn = Turn.NEXT if device.quarantined_at else ratchet.turn(nonce, said_at=said_at)
    if turn is Turn.LATE:
        raise Conflict("report-replayed", "this, or something newer, was accepted already; sign a new one")
    if turn is Turn.FORK:
        raise Forked("device-copied", "this device's key is also used by another machine; an administrator must decide")
    kept = ratchet.advanced(nonce, new_identifier(entropy), said_at=said_at)
    device.nonce, device.previous_nonce, device.said_at = kept.current, kept.previous, kept.said_at
    return turn, kept.current or ""


def spend(db: Session, device: str, jti: object, *, now: datetime) -> None:
    """Remember that `device` has used the proof `jti`. Raises Unauthenticated when it had been used before."""
    if not isinstance(jti, str) or not 16 <= len(jti) <= 64:
        raise Malformed("jti-malformed", "jti must be a string of 16 to 64 characters with 128 random bits")
    db.exec(delete(tables.SeenProof).where(col(tables.SeenProof.expires_at) <= now))
    if db.get(tables.SeenProof, (device, jti)) is not None:
        raise Unauthenticated("proof-replayed", "this signed request has been used before; sign a new one")
    if db.exec(select(func.count()).select_from(tables.SeenProof)).one() >= MOST_PROOFS:
        raise Unavailable("busy", "too many requests in the last two minutes; try again later")
    db.add(tables.SeenProof(device=device, jti=jti, expires_at=now + PROOF_RETENTION))
    db.flush()
