"""Login attempts: each leads somewhere once, on whichever replica its browser comes back.

The attempt itself lives in the browser (`identity.login_state`); only one that a provider has confirmed leaves a row here,
so that strangers cannot fill the table.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from gateway.access.identifiers import digest
from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.login_state import CLOCK_STEP, LIFETIME
from gateway.store import tables

RETENTION = LIFETIME + CLOCK_STEP
"""Must outlive the cookie that the attempt is sealed in."""

MOST_SPENT = 100_000
"""When so many are remembered, new ones are refused: forgetting one would let it come again."""


def spend(db: Session, state: str, *, now: datetime) -> None:
    """Use an attempt up. Raises Unauthenticated when it was before."""
    rows = tables.SpentLogin
    db.exec(delete(rows).where(col(rows.expires_at) <= now))
    if db.get(rows, digest(state)) is not None:
        raise Unauthenticated("login-used", "this login has led somewhere already; begin again")
    if db.exec(select(func.count()).select_from(rows)).one() >= MOST_SPENT:
        raise Unavailable("busy", "too many logins in the last minutes; try again later")
    db.add(rows(state_digest=digest(state), expires_at=now + RETENTION))
    db.flush()
