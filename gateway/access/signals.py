"""Signals: the last word of the security events about a user or a device, kept until another one or a younger login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, or_, select

from gateway.identity.security_event import Kind, SecurityEvent
from gateway.policy.login import REGAINED
from gateway.policy.model import Signal
from gateway.store import tables

SAYS: Mapping[Kind, tuple[str, Mapping[str, Signal | None]]] = {
    Kind.COMPLIANCE_CHANGE: ("current_status", {"compliant": None, "not-compliant": Signal.NOT_COMPLIANT}),
    Kind.RISK_CHANGE: ("current_level", {"LOW": None, "MEDIUM": Signal.MEDIUM_RISK, "HIGH": Signal.HIGH_RISK}),
    Kind.ASSURANCE_CHANGE: ("change_direction", {"increase": None, "decrease": Signal.LOWER_ASSURANCE}),
    Kind.CREDENTIAL_CHANGE: (
        "change_type",
        dict.fromkeys(("revoke", "update", "delete"), Signal.CREDENTIAL_CHANGE),
    ),
}
"""By kind of event: the member that counts, and what its values hold against whom the event is about. A value that is
missing here says nothing: a credential that is added takes nothing away from those that were used."""


def take(db: Session, event: SecurityEvent, logins: Sequence[tables.Login]) -> None:
    """Keep what the event says: of the device where it names one, else of each user that it is about.

    An event that is older than the last word changes nothing: a transmitter may deliver out of order.
    """
    assert event.kind is not None
    member, values = SAYS[event.kind]
    if event.members[member] not in values:
        return
    signal = values[event.members[member]]
    users = {(login.issuer, login.subject, login.device if event.subject.device else "") for login in logins}
    if event.subject.issuer and event.subject.subject and not event.subject.device:
        users.add((event.subject.issuer, event.subject.subject, ""))  # nobody is logged in now, but may be tomorrow
    for issuer, subject, device in users:
        kept = db.get(tables.Signal, (issuer, subject, device, event.kind.value))
        if kept is not None and event.at < kept.at:
            continue
        word = kept or tables.Signal(
            issuer=issuer, subject=subject, device=device, about=event.kind.value, value="", at=event.at
        )
        word.value, word.at = signal or "", event.at
        db.add(word)
        if not device:
            _forget_devices(db, word)
    db.flush()


def of_login(db: Session, login: tables.Login) -> frozenset[Signal]:
    """Give what is held against whoever lives by this login: as this user, or on this device.

    What another login takes back is over for a login that is younger.
    """
    rows = tables.Signal
    ours = (col(rows.issuer) == login.issuer, col(rows.subject) == login.subject, col(rows.value) != "")
    here = or_(col(rows.device) == "", col(rows.device) == login.device)
    found = db.exec(select(rows).where(*ours, here)).all()
    return frozenset(
        Signal(row.value) for row in found if Signal(row.value) not in REGAINED or row.at >= login.authenticated_at
    )


def _forget_devices(db: Session, word: tables.Signal) -> None:
    """A word about a user is one about all of their devices."""
    rows = tables.Signal
    ours = (col(rows.issuer) == word.issuer, col(rows.subject) == word.subject, col(rows.about) == word.about)
    for row in db.exec(select(rows).where(*ours, col(rows.device) != "", col(rows.at) <= word.at)).all():
        db.delete(row)
