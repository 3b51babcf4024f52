"""Signals: what a provider's security events hold against a user or a device, until it takes that back.

One row per signal. It stands for every session of the user, or for those on one device. A device that the provider names
in words that we do not know may be any of the user's, so it counts for all of them: less access, never more.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from gateway.errors import Unavailable
from gateway.policy.login import REGAINED
from gateway.policy.model import Signal
from gateway.store import tables

MOST_SIGNALS = 100_000
"""When so many stand, new ones are refused: forgetting one would give access back."""


def raise_(db: Session, issuer: str, subject: str, device: str, signal: Signal, *, at: datetime) -> None:
    """Have a signal stand. The latest instant counts."""
    row = db.get(tables.Signal, (issuer, subject, device, signal.value))
    if row is not None:
        row.at = max(row.at, at)
        return
    if db.exec(select(func.count()).select_from(tables.Signal)).one() >= MOST_SIGNALS:
        raise Unavailable("busy", "too many signals stand already; take some back first")
    db.add(tables.Signal(issuer=issuer, subject=subject, device=device, signal=signal.value, at=at))
    db.flush()


def lower(db: Session, issuer: str, subject: str, device: str, signal: Signal, *, at: datetime) -> None:
    """Take a signal back, unless it was raised after `at`: events may come in any order.

    A word about a user (`device` empty) is one about all of their devices.
    """
    rows = tables.Signal
    ours = (rows.issuer == issuer, rows.subject == subject, rows.signal == signal.value, col(rows.at) <= at)
    here = (rows.device == device,) if device else ()
    for row in db.exec(select(rows).where(*ours, *here)).all():
        db.delete(row)
    db.flush()


def against(db: Session, login: tables.Login) -> list[str]:
    """Name the signals that stand against a session by this login."""
    rows, devices = tables.Signal, tables.Device
    theirs = (col(devices.issuer) == login.issuer, col(devices.subject) == login.subject)
    others = select(devices.id).where(*theirs, col(devices.id) != login.device)
    standing = db.exec(
        select(rows).where(rows.issuer == login.issuer, rows.subject == login.subject, col(rows.device).not_in(others))
    ).all()
    return sorted({row.signal for row in standing if not _answered(row, login)})


def _answered(row: tables.Signal, login: tables.Login) -> bool:
    """What asks for a new login asks for nothing once there is one. Both instants are the provider's."""
    return row.signal in REGAINED and login.authenticated_at > row.at
