"""Asking for the names of the policy: in the background, a few at a time, so that no request ever waits for a name server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from gateway.access import names
from gateway.store.engine import writing
from gateway.web.deployment import Deployment

LOOK_SECONDS = 1.0
AT_ONCE = 8

log = structlog.get_logger()


async def run(gateway: Deployment) -> None:
    """Ask for what is due, for ever."""
    while True:
        try:
            await run_in_threadpool(refresh, gateway, now=gateway.clock.now())
        except SQLAlchemyError as error:
            log.warning("names not refreshed", error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(LOOK_SECONDS)


def refresh(gateway: Deployment, *, now: datetime) -> None:
    """Ask for the names whose answers are over. Raises SQLAlchemyError."""
    ruling = [policy for policy in (gateway.in_force.policy, gateway.in_force.before) if policy is not None]
    wanted = sorted({name for policy in ruling for name in policy.names()})
    if not wanted or gateway.lookup is None:
        return
    with writing(gateway.engine) as db:
        due = names.due(db, wanted, now=now)
    if not due:
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="names") as pool:
        answers = list(pool.map(gateway.lookup, due))
    with writing(gateway.engine) as db:
        for name, found in zip(due, answers, strict=True):
            if names.learn(db, name, found, now=now):
                log.info("a name has another answer", name=name, addresses=len(found.addresses) if found else 0)
