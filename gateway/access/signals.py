"""Signals: the last word of a security event about a user or a device, kept until another one or a younger login."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, or_, select

from gateway.identity.security_event import Kind, SecurityEvent
from gateway.policy.signals import ASSURANCE, BAD, COMPLIANCE, RISK
from gateway.store import tables

FACTS = {
    Kind.COMPLIANCE_CHANGE: (COMPLIANCE, "current_status"),
    Kind.RISK_CHANGE: (RISK, "current_level"),
    Kind.ASSURANCE_CHANGE: (ASSURANCE, "change_direction"),
}
SPELLED = {"increase": "increased", "decrease": "decreased"}


def take(db: Session, event: SecurityEvent, logins: Sequence[tables.Login]) -> None:
    """Keep what the event says: of the device where it names one, else of each user that it is about.

    An event that is older than the last word changes nothing: a transmitter may deliver out of order.
    """
    assert event.kind is not None
    fact, member = FACTS[event.kind]
    value = str(event.members[member])
    about = {(login.issuer, login.subject, login.device if event.subject.device else "") for login in logins}
    for issuer, subject, device in about:
        kept = db.get(tables.Signal, (issuer, subject, device, fact))
        if kept is None:
            kept = tables.Signal(issuer=issuer, subject=subject, device=device, fact=fact, value="", at=event.at)
        elif event.at < kept.at:
            continue
        kept.value, kept.at = SPELLED.get(value, value), event.at
        db.add(kept)
        if not device:
            _forget_devices(db, kept)
    db.flush()


def _forget_devices(db: Session, word: tables.Signal) -> None:
    """A word about a user is one about all of their devices."""
    rows = tables.Signal
    ours = (col(rows.issuer) == word.issuer, col(rows.subject) == word.subject, col(rows.fact) == word.fact)
    for row in db.exec(select(rows).where(*ours, col(rows.device) != "", col(rows.at) <= word.at)).all():
        db.delete(row)


def of(db: Session, session: tables.Session) -> dict[str, Any]:
    """Give the signals about a session."""
    login = db.get(tables.Login, session.login)
    return {} if login is None else of_login(db, login)


def of_login(db: Session, login: tables.Login) -> dict[str, Any]:
    """Give the signals about whoever lives by this login: its user's and its device's, of two the worse one.

    A lost assurance is regained by a login that is younger.
    """
    rows = tables.Signal
    ours = (col(rows.issuer) == login.issuer, col(rows.subject) == login.subject)
    here = or_(col(rows.device) == "", col(rows.device) == login.device)
    found = db.exec(select(rows).where(*ours, here)).all()
    heard = [row for row in found if row.fact != ASSURANCE or row.at >= login.authenticated_at]
    heard.sort(key=lambda row: (BAD[row.fact].value == row.value, row.at))
    return {row.fact: {"value": row.value, "at": row.at.timestamp()} for row in heard}
