"""Where a plan's fleet comes from: the gateway's database, or a snapshot that was taken of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import fleet
from gateway.errors import HostError, StoreError
from gateway.policy import snapshot
from gateway.policy.plan import Live
from gateway.settings import Settings
from gateway.store import migrate
from gateway.store.engine import open_engine, reading

LIVE = "live"

Fleet = tuple[datetime, Iterator[Live]]


@contextmanager
def opened(against: str) -> Iterator[Fleet]:
    """Give the moment and the sessions of `live`, or of a snapshot file. Raises GatewayError."""
    if against != LIVE:
        with _file(Path(against)) as found:
            yield found
        return
    with database() as engine, reading(engine) as db:
        now = datetime.now(UTC)
        yield now, fleet.live(db, now=now)


@contextmanager
def database() -> Iterator[Engine]:
    """Open the database that the settings name, which a gateway has made. Raises GatewayError."""
    settings = Settings.from_environment()
    file = settings.database_url.removeprefix("sqlite:///")
    if file != settings.database_url and not Path(file).is_file():
        raise StoreError(
            f"there is no database {file}: set SALLYPORT_DATABASE_URL or SALLYPORT_STATE_DIR as for `serve`"
        )
    engine = open_engine(settings.database_url)
    try:
        migrate.check(engine)
        yield engine
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"cannot use the database {engine.url.render_as_string()}: {reason}") from error
    finally:
        engine.dispose()


def save(to: Path) -> int:
    """Write a snapshot that only its owner may read. Gives the number of sessions. Raises GatewayError."""
    with opened(LIVE) as (at, sessions):
        try:
            with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                written = [stream.write(line) > 0 for line in snapshot.lines(sessions, at=at)]
        except OSError as error:
            raise HostError(f"{to} cannot be written: {error.strerror}") from None
    return len(written) - 1


@contextmanager
def _file(path: Path) -> Iterator[Fleet]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield snapshot.read(stream)
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}; allowed is live, or a snapshot file") from None
    except ValueError as error:  # also while the plan goes through the lines
        raise HostError(f"{path}: {error}") from None
