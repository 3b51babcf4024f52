"""A round of a witness: what it says is kept, and every live session that it concerns is judged again at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlmodel import Session

from gateway.access import sessions, testimony
from gateway.policy.policy import Policy
from gateway.policy.stage import InForce
from gateway.witness import Record


def keep(
    db: Session, rules: Policy | InForce, witness: str, records: Iterable[Record], *, max_age: timedelta, now: datetime
) -> list[str]:
    """Take a whole round of a witness. Gives the sessions whose verdict it has changed."""
    found = testimony.matched(records, testimony.claims(db))
    changed = []
    for device, (record, reason) in found.items():
        testimony.write(db, device, witness, record, reason, max_age=max_age, now=now)
        session = sessions.live_session(db, device)
        if session is not None and sessions.hear(db, rules, session, now=now):
            changed.append(session.id)
    return changed
