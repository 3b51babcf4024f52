"""What is decided about a device: approved, revoked for good, quarantined because it has a double, released again.

Every function works inside the caller's write transaction and gives the sessions that the tunnel must be told about.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from gateway.access import audit, sessions
from gateway.access.audit import GATEWAY, Event
from gateway.access.sessions import EndReason
from gateway.errors import Conflict, NotFound
from gateway.identity.device_key import is_thumbprint
from gateway.policy.stage import InForce
from gateway.store import tables


def approve(db: Session, device: str, *, by: str, now: datetime) -> None:
    """Let a device in. Approving twice changes nothing. Raises NotFound, or Conflict when it was revoked."""
    found = find(db, device)
    _refuse_revoked(found)
    if found.approved_at is None:
        found.approved_at, found.approved_by = now, by
        audit.record(db, Event.DEVICE_APPROVED, now=now, actor=by, device=found.id, name=found.name)


def revoke(db: Session, device: str, *, by: str, reason: str, now: datetime) -> list[str]:
    """End a device for good: its sessions, its logins, its tokens, its key. Revoking twice changes nothing."""
    found = find(db, device)
    if found.revoked_at is not None:
        return []
    found.revoked_at = now
    logins = select(tables.Login).where(tables.Login.device == found.id, col(tables.Login.voided_at).is_(None))
    for login in db.exec(logins).all():
        login.voided_at = now
    for family in db.exec(select(tables.TokenFamily).where(tables.TokenFamily.device == found.id)).all():
        family.ended_at = family.ended_at or now
    alive = sessions.live_session(db, found.id)
    if alive is not None:
        sessions.end(db, alive, EndReason.DEVICE_REVOKED, now=now, actor=by)
    audit.record(db, Event.DEVICE_REVOKED, now=now, actor=by, device=found.id, name=found.name, reason=reason)
    return [alive.id] if alive else []


def quarantine(db: Session, rules: InForce, device: str, *, code: str, now: datetime) -> list[str]:
    """Confine whoever speaks with this device's key, because two do, until an administrator decides."""
    found = find(db, device)
    if found.quarantined_at is not None:
        return []
    found.quarantined_at = now
    audit.record(db, Event.DEVICE_QUARANTINED, now=now, actor=GATEWAY, device=found.id, name=found.name, code=code)
    return _judged(db, rules, found.id, now=now)


def release(db: Session, rules: InForce, device: str, *, by: str, reason: str, now: datetime) -> list[str]:
    """Believe a quarantined device again; the copy that speaks next counts as the right one."""
    found = find(db, device)
    _refuse_revoked(found)
    if found.quarantined_at is None:
        raise Conflict("not-quarantined", "this device is not quarantined")
    found.quarantined_at = found.nonce = found.previous_nonce = None
    audit.record(db, Event.DEVICE_RELEASED, now=now, actor=by, device=found.id, name=found.name, reason=reason)
    return _judged(db, rules, found.id, now=now)


def find(db: Session, device: str) -> tables.Device:
    """Give a device by its id, revoked or not. Raises NotFound."""
    found = db.get(tables.Device, device) if is_thumbprint(device) else None
    if found is None:
        raise NotFound("device-unknown", "there is no such device")
    return found


def _refuse_revoked(device: tables.Device) -> None:
    if device.revoked_at is not None:
        raise Conflict("device-revoked", "this device is revoked, which is for good; enrol it with a new key")


def _judged(db: Session, rules: InForce, device: str, *, now: datetime) -> list[str]:
    alive = sessions.live_session(db, device)
    if alive is None:
        return []
    policy = rules.of(device, alive.groups)  # and not `rules`: the mass-cut breaker does not hold a quarantine
    sessions.judge(db, policy, alive, sessions.latest_posture(db, alive), now=now)
    return [alive.id]
