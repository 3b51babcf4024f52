"""A login on a machine without a screen (RFC 8628): the device shows a code, a person types it into another browser.

The device's key takes the place of the client, and the name of the enrolment that of the device code: nobody else can ask
for it. The person who has logged in sees which device asks, and from where, and only their consent lets it in: a code that
was sent to somebody leads to a page that says whose machine it is about (RFC 8628 section 5.4).
"""

from __future__ import annotations

import enum
import hmac
from datetime import datetime, timedelta

from sqlmodel import Session, select

from gateway.access import audit, enrolment
from gateway.access.audit import Event
from gateway.access.identifiers import Entropy, digest
from gateway.errors import NotFound, Unauthenticated
from gateway.store import tables

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1: twenty letters that make no words and are not taken for digits."""

LETTERS = 8
"""34 bits: with the limit on guesses, 10,000 pending codes and ten minutes, one guesser in 4,000 would find one of them,
which would ask them to let somebody else's machine in under their own name."""

INTERVAL = 5
SLOWER = 5
"""Seconds; RFC 8628 sections 3.2 and 3.5."""


class Polled(enum.Enum):
    """What the device is answered; the values are RFC 8628's."""

    PENDING = "authorization_pending"
    TOO_FAST = "slow_down"
    APPROVED = "approved"


def open_(row: tables.Enrolment, *, origin: str, entropy: Entropy) -> str:
    """Let the login of an enrolment happen elsewhere. Gives the code for the person."""
    letters = "".join(ALPHABET[number] for number in _numbers(entropy))
    row.user_code, row.origin, row.interval = letters, origin, INTERVAL
    return f"{letters[:4]}-{letters[4:]}"


def by_code(db: Session, typed: str, *, now: datetime) -> tables.Enrolment:
    """Give the enrolment whose code somebody typed, in whatever case and with whatever in between. Raises NotFound."""
    letters = "".join(letter for letter in typed.upper() if letter in ALPHABET)
    rows = tables.Enrolment
    found = db.exec(select(rows).where(rows.user_code == letters)).one_or_none() if len(letters) == LETTERS else None
    if found is None or found.expires_at <= now or found.code_digest is not None:
        raise NotFound("user-code-unknown", "there is no such code, or it is used or too old; look at the device again")
    return found


def consent(db: Session, name: str, secret: str, *, allowed: bool, now: datetime) -> tables.Enrolment:
    """Take what the person said on the page that `secret` was given to. A refusal forgets the enrolment.

    Raises NotFound for an enrolment that is over, Unauthenticated for another page's secret.
    """
    found = enrolment.pending(db, name, now=now)
    known = found.code_digest if found.user_code is not None and found.approved_at is None else None
    if known is None or found.login is None or not hmac.compare_digest(digest(secret), known):
        raise Unauthenticated("consent-unknown", "this page is over; begin again on the device")
    audit.record(
        db,
        Event.LOGIN_BY_CODE,
        now=now,
        actor=found.login["user"],
        device=found.device,
        name=found.name,
        origin=found.origin,
        allowed=allowed,
    )
    if allowed:
        found.approved_at = now
    else:
        db.delete(found)
    return found


def poll(db: Session, name: str, device: str, *, now: datetime) -> Polled:
    """Say how far the login is. A device that asks too often must wait longer. Raises NotFound."""
    found = enrolment.pending(db, name, now=now)
    if found.device != device or found.user_code is None:
        raise NotFound("enrolment-unknown", "there is no such enrolment; begin again on the device")
    early = found.polled_at is not None and now - found.polled_at < timedelta(seconds=found.interval)
    found.polled_at = now
    if early:
        found.interval += SLOWER
        return Polled.TOO_FAST
    return Polled.APPROVED if found.approved_at is not None else Polled.PENDING


def _numbers(entropy: Entropy) -> list[int]:
    """Draw without a bias: bytes beyond the last whole multiple of the alphabet's length are drawn again."""
    limit, drawn = 256 - 256 % len(ALPHABET), list[int]()
    while len(drawn) < LETTERS:
        drawn += [byte % len(ALPHABET) for byte in entropy(LETTERS) if byte < limit]
    return drawn[:LETTERS]
