"""What others know of the devices, gathered without a request: the tunnel's events as they come, a witness round by round."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from gateway.access import witnesses
from gateway.access.tunnel import UapiTunnel
from gateway.errors import ProviderError, TunnelError
from gateway.store.engine import writing
from gateway.web.deployment import Deployment
from gateway.witness import Witness

ROUND = timedelta(minutes=5)
"""From one round to the next. A device itself talks to its MDM every few minutes at best."""
AGAIN_SECONDS = 2.0

log = structlog.get_logger()


async def run(gateway: Deployment) -> None:
    """Listen to the tunnel and ask the witness, for ever."""
    tunnels = gateway.enforcement.tunnels
    await asyncio.gather(
        *(_listen(gateway, tunnel) for tunnel in tunnels),
        *([_ask(gateway, gateway.witness)] if gateway.witness else []),
    )


async def _listen(gateway: Deployment, tunnel: UapiTunnel) -> None:
    """Follow the events of an instance; one that is away or restarts is found again."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(str(tunnel.path))
            try:
                writer.write(b"watch=1\n\n")
                gateway.sightings.locate(await run_in_threadpool(tunnel.status), now=gateway.clock.now())
                while line := await reader.readline():
                    gateway.sightings.note(line.decode("ascii", "replace"), now=gateway.clock.now())
            finally:
                writer.close()
        except (OSError, ValueError, TunnelError):  # away, or a line without an end
            pass
        await asyncio.sleep(AGAIN_SECONDS)


async def _ask(gateway: Deployment, witness: Witness) -> None:
    failing: str | None = None
    while True:
        try:
            count = await run_in_threadpool(ask, gateway, witness)
            trouble = None
            log.info("witness asked", witness=witness.name, changed=count)
        except (ProviderError, SQLAlchemyError, TunnelError) as error:
            trouble = f"{type(error).__name__}: {error}"
        if trouble != failing and trouble:
            log.warning("witness cannot be asked", witness=witness.name, error=trouble)
        failing = trouble
        await asyncio.sleep(ROUND.total_seconds())


def ask(gateway: Deployment, witness: Witness) -> int:
    """One round. Gives how many sessions it has changed. Raises ProviderError, SQLAlchemyError or TunnelError."""
    records = list(witness.records())
    now = gateway.clock.now()
    with writing(gateway.engine) as db:
        changed = witnesses.keep(db, gateway.in_force, witness.name, records, max_age=gateway.witness_age, now=now)
    if changed:
        gateway.follow(changed, now=now)
    return len(changed)
