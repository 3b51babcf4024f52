"""Where a plan's fleet comes from: the gateway's database, or a snapshot that was taken of it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
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
    """Write a snapshot of the database that only its owner may read. Gives the number of sessions. Raises GatewayError."""
    with opened(LIVE) as (at, sessions):
        return _written(to, snapshot.lines(sessions, at=at))


def fetch(to: Path, gateway: str, *, token: Path, authority: Path | None) -> int:
    """Have the gateway give the snapshot, by an API token. Gives the number of sessions. Raises GatewayError."""
    try:
        secret = token.read_text(encoding="ascii").strip()
        trust = ssl.create_default_context(cafile=str(authority) if authority else None)
        headers = {"authorization": f"Bearer {secret}"}
        with (
            httpx2.Client(verify=trust, timeout=30.0, trust_env=False, headers=headers) as client,
            client.stream("GET", f"{gateway.rstrip('/')}/v1/admin/fleet") as answer,
        ):
            if answer.status_code != 200:
                raise HostError(
                    f"{gateway} answers {answer.status_code}: {answer.read()[:300].decode('utf-8', 'replace')}"
                )
            count = _written(to, (f"{line}\n" for line in answer.iter_lines()))
    except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HostError(f"{gateway} gives no snapshot: {type(error).__name__}: {error}") from None
    with opened(str(to)) as (_, sessions):
        for _ in sessions:  # whole and well-formed, before anybody plans by it
            pass
    return count


def _written(to: Path, lines: Iterator[str]) -> int:
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            return sum(stream.write(line) > 0 for line in lines) - 2
    except OSError as error:
        raise HostError(f"{to} cannot be written: {error.strerror}") from None


@contextmanager
def _file(path: Path) -> Iterator[Fleet]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield snapshot.read(stream)
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}; allowed is live, or a snapshot file") from None
    except ValueError as error:  # also while the plan goes through the lines
        raise HostError(f"{path}: {error}") from None
