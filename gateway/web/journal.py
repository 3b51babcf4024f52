"""The log: constant event names with fields, on stderr; lines for a person, JSON for a machine."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(*, for_person: bool) -> None:
    """Send our events and those of our libraries (warnings and above) to stderr."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if for_person else structlog.processors.JSONRenderer()
    )
    # Without tracebacks of libraries in full: a local variable may hold what a log must not.
    chain = [*shared, structlog.processors.format_exc_info, renderer]
    structlog.configure(
        processors=chain, logger_factory=structlog.PrintLoggerFactory(sys.stderr), cache_logger_on_first_use=False
    )
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *chain[len(shared) :]],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[output], force=True)
