"""What the browser keeps for us between leaving for the provider and coming back.

The state, the nonce and the PKCE verifier live sealed in a cookie of the browser that began: nothing is kept here, so
strangers cannot fill a table, and a callback that was started elsewhere has no cookie that fits (login CSRF).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from gateway.errors import Unauthenticated
from gateway.identity import sealing

LIFETIME = timedelta(minutes=10)
"""Time for a person to type a password and find a second factor."""

CLOCK_STEP = timedelta(seconds=30)
"""How far the clock may step back between the two requests before the state counts as forged."""

LARGEST_COOKIE = 4096
CONTEXT = b"sallyport login state 2"
"""Bound into the seal, so that nothing else that is ever sealed with the key can stand in."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a login must be beyond being one: typed in now (`fresh`), at most `max_age` seconds old and the provider says
    so, of one of these classes."""

    fresh: bool = False
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()


NOTHING = Demand()


@dataclass(frozen=True, slots=True)
class LoginState:
    """One login attempt. `purpose` is ours; `verifier` is the PKCE secret (RFC 7636 section 4.1); `provider` is the name
    of the one that it is at."""

    purpose: str
    state: str
    nonce: str
    verifier: str
    begun_at: datetime
    provider: str = ""
    demand: Demand = NOTHING


def seal(state: LoginState, key: bytes, *, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """Encrypt a state with AES-GCM under `key` (16 or 32 bytes) into a cookie's value."""
    members = {**asdict(state), "begun_at": state.begun_at.timestamp()}
    return sealing.seal(json.dumps(members).encode(), key, CONTEXT, entropy=entropy)


def unseal(cookie: str, key: bytes, *, now: datetime) -> LoginState:
    """Give back what `seal` took. Raises Unauthenticated for anything else and after ten minutes."""
    state = _open(cookie, key)
    if not now - LIFETIME < state.begun_at <= now + CLOCK_STEP:
        raise Unauthenticated("login-state", "the login took longer than ten minutes; begin again")
    return state


def _open(cookie: str, key: bytes) -> LoginState:
    try:
        if len(cookie) > LARGEST_COOKIE:
            raise ValueError
        members = json.loads(sealing.unseal(cookie, key, CONTEXT))
    except ValueError:
        raise Unauthenticated("login-state", "this browser did not begin a login here; begin again") from None
    begun_at = datetime.fromtimestamp(members.pop("begun_at"), UTC)
    demand = members.pop("demand")
    acr_values = tuple(demand.pop("acr_values"))
    return LoginState(**members, begun_at=begun_at, demand=Demand(**demand, acr_values=acr_values))
