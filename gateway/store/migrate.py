"""The schema: brought up to date when `serve` starts, and refused when a newer gateway has been here."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import StoreError

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(engine: Engine) -> None:
    """Bring the tables to the newest schema, in one transaction. Raises StoreError when that is not possible."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.execution_options(write=True).begin() as connection:
            _refuse_newer(config, MigrationContext.configure(connection).get_current_heads())
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"cannot use the database {engine.url.render_as_string()}: {reason}") from error


def check(engine: Engine) -> None:
    """Raise StoreError unless the tables have the newest schema: for programs that look and must not change it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    if heads != (newest,):
        there = ", ".join(heads) or "none"
        raise StoreError(f"the database has schema {there} and this version needs {newest}: start its `serve` once")


def _refuse_newer(config: Config, heads: tuple[str, ...]) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unknown = sorted(set(heads) - known)
    if unknown:
        raise StoreError(
            f"the database has schema {unknown[0]}, which this version does not know: a newer Sallyport has used it. "
            "Install that version, or restore the backup made before it"
        )
