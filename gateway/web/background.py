"""What happens without a request: leases end, decisions expire, the tunnel follows, kills are written after all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from gateway.access import history, reevaluation
from gateway.errors import TunnelError
from gateway.store.engine import reading, writing
from gateway.web.deployment import Deployment

TICK_SECONDS = 0.25
FORGET_EVERY = timedelta(hours=1)
BATCH = 500
"""Sessions that are judged in one transaction: short enough that a request does not wait for the lock."""

log = structlog.get_logger()


async def run(gateway: Deployment) -> None:
    """Tick for ever. What fails is logged when it begins to fail and when it works again, and tried at the next tick."""
    failing: str | None = None
    forgotten_at: datetime | None = None
    while True:
        try:
            now = gateway.clock.now()
            if forgotten_at is None or abs(now - forgotten_at) >= FORGET_EVERY:
                await run_in_threadpool(forget, gateway, now=now)
                forgotten_at = now
            pause = await run_in_threadpool(tick, gateway, now=gateway.clock.now())
            trouble = None
        except (TunnelError, SQLAlchemyError) as error:
            pause, trouble = TICK_SECONDS, f"{type(error).__name__}: {error}"
        if trouble != failing:
            log.warning("background work fails", error=trouble) if trouble else log.info("background work goes on")
            failing = trouble
        await asyncio.sleep(pause)


def forget(gateway: Deployment, *, now: datetime) -> None:
    """Delete what of the history is too old, in small transactions. Raises SQLAlchemyError."""
    more = True
    while more:
        with writing(gateway.engine) as db:
            more = history.forget(db, older_than=gateway.history, now=now) > 0


def tick(gateway: Deployment, *, now: datetime) -> float:
    """Do what is due. Gives the seconds until something may be due again, at most 0.25.

    Raises TunnelError or SQLAlchemyError.
    """
    with reading(gateway.engine) as db:
        moved = reevaluation.misplaced(db, gateway.in_force) if gateway.applied.refresh(db, now=now) else []
        due = [*dict.fromkeys([*moved, *reevaluation.due(db, gateway.in_force, now=now)])]
    batches = iter(due)
    while batch := list(islice(batches, BATCH)):
        changed = _reevaluate(gateway, batch, now=now)
        if changed:
            gateway.follow(changed, now=now)
    gateway.enforcement.write_kills(now=now)
    gateway.enforcement.tick(now=now)
    with reading(gateway.engine) as db:
        following = reevaluation.next_due(db)
    return TICK_SECONDS if following is None else min(TICK_SECONDS, max(0.0, (following - now).total_seconds()))


def _reevaluate(gateway: Deployment, sessions: Sequence[str], *, now: datetime) -> list[str]:
    with writing(gateway.engine) as db:
        return [name for name in sessions if reevaluation.reevaluate(db, gateway.in_force, name, now=now)]
