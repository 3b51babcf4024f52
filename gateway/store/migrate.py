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


def _refuse_newer(config: Config, heads: tuple[str, ...]) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unknown = sorted(set(heads) - known)
    if unknown:
        raise StoreError(
            f"the database has schema {unknown[0]}, which this version does not know: a newer Sallyport has used it. "
            "Install that version, or restore the backup made before it"
        )
