"""What a device's next login must be: typed in now when it had one before, and what a resource asks for."""

from __future__ import annotations

from sqlmodel import Session, col, select

from gateway.errors import Malformed
from gateway.identity.device import VerifiedDeviceClaims
from gateway.identity.login_state import NOTHING, Demand
from gateway.policy.policy import Policy
from gateway.store import tables


def demanded(db: Session, policy: Policy, verified: VerifiedDeviceClaims) -> tables.Members:
    """Read what the device asks for, as it is kept with its enrolment. Raises Malformed `resource-unknown`.

    A first login may be one that the provider has already; whoever logs in again wants a younger one.
    """
    wanted = verified.claims.get("resource")
    if wanted is None:
        rows = tables.Login
        again = db.exec(select(rows.id).where(col(rows.device) == verified.device).limit(1)).first() is not None
        return {"fresh": again}
    resource = policy.resources.get(wanted) if isinstance(wanted, str) else None
    if resource is None or (resource.max_age is None and not resource.acr_values):
        raise Malformed("resource-unknown", "resource must name one that asks for a younger or stronger login")
    max_age = int(resource.max_age.total_seconds()) if resource.max_age is not None else None
    return {"fresh": True, "max_age": max_age, "acr_values": list(resource.acr_values or ())}


def demand(enrolment: tables.Enrolment) -> Demand:
    """Give what `demanded` has kept."""
    kept = enrolment.demand
    return NOTHING if kept is None else Demand(**{**kept, "acr_values": tuple(kept.get("acr_values", ()))})
