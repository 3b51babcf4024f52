"""Enrolled devices: whose key signs, and that nothing signed is used twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from gateway.errors import Malformed, Unauthenticated, Unavailable
from gateway.store import tables

PROOF_RETENTION = timedelta(minutes=2)
"""Must outlive the window in which a proof is accepted: 60 s of clock difference to either side."""

MOST_PROOFS = 200_000
"""When so many proofs are remembered, new ones are refused: forgetting one would let it be replayed."""


def jwk_of(db: Session, device: str) -> Mapping[str, Any]:
    """Give the public key of an enrolled device as a JWK. Raises Unauthenticated for any other."""
    found = db.get(tables.Device, device)
    if found is None:
        raise Unauthenticated("device-unknown", "this device is not enrolled here; run sallyport-agent enrol")
    return found.jwk


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
