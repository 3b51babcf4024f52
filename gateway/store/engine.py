"""The database: how it is opened, read and written. SQLite in WAL mode, or PostgreSQL by the same statements.

A write transaction takes SQLite's write lock at its beginning (BEGIN IMMEDIATE), so that what it read is still true when
it writes. A commit is on the disk when it returns (synchronous=FULL): an answer may depend on it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlmodel import Session

BUSY_MS = 5_000
"""How long a statement waits for another writer before the request is answered 503."""


def open_engine(url: str) -> Engine:
    """Open the database at `url`; nothing is read yet. See `migrate.upgrade` for its tables."""
    engine = create_engine(
        url, pool_size=16, max_overflow=24, pool_timeout=2, pool_pre_ping=not url.startswith("sqlite")
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give a session that sees one state of the database and writes nothing. Its rows stay readable."""
    with Session(engine, autoflush=False) as db:  # closing rolls back; a rollback before it would expire the rows
        yield db


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Give a session that commits at the end, or rolls back when an exception leaves it. Its rows stay readable."""
    with Session(engine.execution_options(write=True), expire_on_commit=False) as db, db.begin():
        yield db


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not begin by itself: `_begin` does
    cursor: sqlite3.Cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
