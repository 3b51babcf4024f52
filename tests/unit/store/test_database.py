"""The database refuses what must not happen, keeps instants as instants, and is what the migrations say it is."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlmodel import SQLModel, select

from gateway.errors import StoreError
from gateway.store import tables
from gateway.store.engine import open_engine, reading, writing
from gateway.store.migrate import MIGRATIONS, upgrade

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
AT = "2026-11-24 12:00:00.123456"


@pytest.fixture
def engine(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path}/sallyport.db")
    upgrade(engine)
    yield engine
    engine.dispose()


def row(at: datetime = NOW) -> tables.Audit:
    return tables.Audit(at=at, event="session.began", actor="alice", details={"tier": "full"})


def test_the_migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    with writing(engine) as db:
        db.add(row())
    upgrade(engine)
    with reading(engine) as db:
        assert len(db.exec(select(tables.Audit)).all()) == 1


def test_a_database_of_the_first_schema_keeps_its_rows_and_gets_the_new_columns(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/old.db")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO devices VALUES ('d', '{}', 'n', 'linux', '1', 'i', 's', :at)"), {"at": AT})
        connection.execute(
            text("INSERT INTO logins VALUES ('l', 'd', 'i', 's', 'alice', '[]', :at, :at, NULL)"), {"at": AT}
        )
    upgrade(engine)
    with reading(engine) as db:
        login = db.exec(select(tables.Login)).one()
        assert (login.user, login.authenticated_at, login.sid, login.issued_at) == ("alice", NOW, None, None)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    engine.dispose()


def test_a_schema_of_a_newer_version_is_refused_by_name(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="schema 9999"):
        upgrade(engine)


def test_a_database_that_cannot_be_opened_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot use the database sqlite:.*unable to open"):
        upgrade(open_engine(f"sqlite:///{tmp_path}/missing/sallyport.db"))


def test_an_instant_comes_back_aware_and_equal_whatever_zone_it_had(engine: Engine) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    with writing(engine) as db:
        db.add(row(elsewhere))
    with reading(engine) as db:
        found = db.exec(select(tables.Audit)).one().at
    assert found == NOW
    assert found.utcoffset() == timedelta(0)


def test_a_naive_instant_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="no time zone"), writing(engine) as db:
        db.add(row(NOW.replace(tzinfo=None)))


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'mallory'", "DELETE FROM audit"])
def test_the_audit_log_only_grows(engine: Engine, statement: str) -> None:
    with writing(engine) as db:
        db.add(row())
    with pytest.raises(IntegrityError, match="only grows"), engine.begin() as connection:
        connection.execute(text(statement))


def test_a_write_that_raises_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(IntegrityError), writing(engine) as db:
        db.add_all([row(), tables.Posture(device="x", session="x", facts={}, observed_at=NOW, received_at=NOW)])
    with reading(engine) as db:
        assert db.exec(select(tables.Audit)).all() == []


def test_a_commit_is_on_the_disk_before_it_returns(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2, "FULL"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_reader_sees_one_state_while_another_writes(engine: Engine) -> None:
    with reading(engine) as db:
        assert db.exec(select(tables.Audit)).all() == []
        with writing(engine) as other:
            other.add(row())
        assert db.exec(select(tables.Audit)).all() == []


def test_a_write_takes_the_lock_at_its_beginning(engine: Engine, tmp_path: Path) -> None:
    with writing(engine) as db:
        db.exec(select(tables.Audit)).all()
        other = sqlite3.connect(tmp_path / "sallyport.db", timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
