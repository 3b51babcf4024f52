"""What a witness (gateway/witness) says about our devices: matched, kept, and told when a decision is made.

A device is found by the serial number or the UUID that it reports. Both are its own words, so a record that two devices
claim is about neither: a copied serial number takes the confirmation away from both, and nobody gains one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, select

from agent.catalogue import CATALOGUE
from agent.wire import Fact
from gateway.store import tables
from gateway.witness import Record

CLAIMED_TWICE = "more than one device claims this record"
UNKNOWN = "there is no record of this device"


def matched(
    records: Iterable[Record], claims: Mapping[str, tuple[str | None, str | None]]
) -> dict[str, tuple[Record | None, str | None]]:
    """Find the record of each device, by what it claims (serial number, UUID): the latest one, or the reason for none."""
    by_claim: dict[tuple[str, str], Record] = {}
    for record in sorted(records, key=lambda record: record.seen_at):
        by_claim |= dict.fromkeys(_keys(record.serial, record.uuid), record)
    chosen = {device: _record(by_claim, *claim) for device, claim in claims.items()}
    taken = Counter(id(record) for record in chosen.values() if record is not None)
    return {
        device: (None, UNKNOWN)
        if record is None
        else (None, CLAIMED_TWICE)
        if taken[id(record)] > 1
        else (record, None)
        for device, record in chosen.items()
    }


def _record(by_claim: Mapping[tuple[str, str], Record], serial: str | None, uuid: str | None) -> Record | None:
    """The record that all claims agree on: a serial number of one machine with the UUID of another is neither's."""
    found = [by_claim.get(key) for key in _keys(serial, uuid)]
    named = [record for record in found if record is not None]
    return named[0] if named and all(record is named[0] for record in named) else None


def _keys(serial: str | None, uuid: str | None) -> list[tuple[str, str]]:
    keys = (("serial", serial.lower() if serial else None), ("uuid", uuid.lower() if uuid else None))
    return [(kind, value) for kind, value in keys if value]


def claims(db: Session) -> dict[str, tuple[str | None, str | None]]:
    return {
        row.device: (_told(row.facts, "device.serial"), _told(row.facts, "device.uuid"))
        for row in db.exec(select(tables.Posture)).all()
    }


def _told(facts: Mapping[str, Any], name: str) -> str | None:
    value = facts[name].get("value") if isinstance(facts.get(name), dict) else None
    return value if isinstance(value, str) else None


def write(
    db: Session,
    device: str,
    witness: str,
    record: Record | None,
    reason: str | None,
    *,
    max_age: timedelta,
    now: datetime,
) -> None:
    at = now.timestamp()
    told = record.facts if record is not None else {}
    prefix = "edr." if any(name.startswith("edr.") for name in told) else "mdm."
    names = sorted(set(told) | {name for name in CATALOGUE if name.startswith(prefix)})
    facts = {
        name: Fact(value, witness, at, None if value is not None else reason or f"{witness} does not say").to_json()
        for name in names
        for value in [told.get(name)]
    }
    said: dict[str, Any] = {"facts": facts, "fresh_until": (record.seen_at if record else now) + max_age, "at": now}
    row = db.get(tables.Testimony, (device, witness))
    db.add(row.sqlmodel_update(said) if row else tables.Testimony(device=device, witness=witness, **said))
    db.flush()


def told(db: Session, device: str, *, now: datetime) -> dict[str, Fact]:
    """Everything that witnesses have told about a device. Raises ValueError when a row does not hold facts.

    A record that is too old is still told, as the reason for there being none.
    """
    rows = db.exec(select(tables.Testimony).where(tables.Testimony.device == device)).all()
    return {name: _aged(Fact.from_json(fact), row, now=now) for row in rows for name, fact in row.facts.items()}


def _aged(fact: Fact, row: tables.Testimony, *, now: datetime) -> Fact:
    if now < row.fresh_until or fact.absent is not None:
        return fact
    return Fact(None, fact.source, fact.observed_at, f"{row.witness} has not seen the device for too long")
