"""The recorded sessions as a stream, device by device, for a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import sqlalchemy
from sqlalchemy import or_
from sqlmodel import Session, col, func, select

from gateway.access import history
from gateway.policy.replay import Course
from gateway.store import tables

PORTION = 2_000

_ROW = tables.History
_COLUMNS: tuple[Any, ...] = (
    _ROW.trace, _ROW.session, _ROW.device, _ROW.at, _ROW.observed_at, _ROW.received_at, _ROW.question, _ROW.tier,
    _ROW.policy_version, _ROW.digest, tables.Session.user, tables.Session.ended_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """The devices from `first` to before `beyond`, by their ids. None: from the beginning, to the end."""

    first: str | None = None
    beyond: str | None = None


def parts(db: Session, count: int) -> list[Part]:
    """Cut the devices of the record into so many parts, about equally large."""
    devices = db.exec(select(tables.Device.id).order_by(tables.Device.id)).all()
    cuts = [devices[len(devices) * number // count] for number in range(1, count)] if len(devices) >= count else []
    return [Part(first, beyond) for first, beyond in zip([None, *cuts], [*cuts, None], strict=True)]


def recorded(db: Session, part: Part, *, since: datetime, until: datetime) -> Iterator[Course]:
    """Stream the sessions that were live after `since`, each device's in order. Raises ValueError when a row is no record."""
    rows = tables.History
    wanted = (
        sqlalchemy.select(*(col(column) for column in _COLUMNS))
        .join(tables.Session, col(tables.Session.id) == col(rows.session))
        .where(or_(col(tables.Session.ended_at).is_(None), col(tables.Session.ended_at) > since), col(rows.at) <= until)
        .order_by(col(rows.device), col(rows.sequence))
        .execution_options(yield_per=PORTION)
    )
    if part.first is not None:
        wanted = wanted.where(col(rows.device) >= part.first)
    if part.beyond is not None:
        wanted = wanted.where(col(rows.device) < part.beyond)
    for _, group in groupby(db.connection().execute(wanted), key=lambda row: row.session):
        yield _course(list(group), until=until)


def _course(rows: list[Any], *, until: datetime) -> Course:
    first = rows[0]
    return Course(first.session, first.device, first.user, first.ended_at or until, list(history.read(rows)))


def beginning(db: Session) -> datetime | None:
    """When the record begins."""
    return db.exec(select(func.min(tables.History.at))).one()
