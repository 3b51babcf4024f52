"""Asks providers whether logins still hold (OIDC Core 12), as often as the policy's `session.check_login` says."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from gateway.access import login_checks
from gateway.access.login_checks import DueCheck
from gateway.errors import ProviderError, Refused
from gateway.store.engine import writing
from gateway.web.deployment import Deployment

PAUSE_SECONDS = 1.0

log = structlog.get_logger()


async def run(gateway: Deployment) -> None:
    """Check for ever. A database that fails is tried again; a provider that is away is asked again later."""
    while True:
        try:
            await run_in_threadpool(step, gateway, now=gateway.clock.now())
        except SQLAlchemyError as error:
            log.warning("logins are not checked", error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(PAUSE_SECONDS)


def step(gateway: Deployment, *, now: datetime) -> int:
    """Check what is due. Gives how many logins were asked for. Raises SQLAlchemyError."""
    with writing(gateway.engine) as db:
        due = login_checks.claim(db, now=now)
    for check in due:
        _check(gateway, check, now=now)
    return len(due)


def _check(gateway: Deployment, check: DueCheck, *, now: datetime) -> None:
    try:
        party = gateway.providers.named(check.provider).party
        renewed = party.renew(gateway.unseal(check.refresh_token), subject=check.subject, now=now)
    except ProviderError as error:
        log.warning("login not checked", login=check.login, error=str(error))
        return  # it is asked again; the login itself ends in time
    except (Refused, ValueError) as refused:
        why = refused.code if isinstance(refused, Refused) else "refresh-token-unreadable"
        with writing(gateway.engine) as db:
            changed = login_checks.refused(db, check.login, why, now=now)
    else:
        with writing(gateway.engine) as db:
            changed = login_checks.confirmed(
                db,
                gateway.in_force,
                check.login,
                groups=renewed.groups,
                refresh_token=gateway.seal(renewed.refresh_token) if renewed.refresh_token else None,
                now=now,
            )
    if changed:
        gateway.follow(changed, now=now)
