"""A decision as it is kept in a session's row, and as it is told to the agent. Times on the wire are Unix seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gateway.policy.model import Decision, Finding, StepUp
from gateway.policy.policy import Policy
from gateway.store import tables


def kept(decision: Decision, policy: Policy) -> dict[str, Any]:
    """Give the decision as members of a session's row."""
    return {
        "tier": decision.tier,
        "findings": [_finding(finding) for finding in decision.findings],
        "resources": [_resource(name, policy) for name in decision.resources],
        "permits": list(decision.permits),
        "routes": list(decision.routes),
        "rate": decision.rate,
        "policy_version": decision.policy_version,
        "valid_until": decision.valid_until,
        "step_up": [_step_up(step) for step in decision.step_up],
        "by_name": bool(decision.names),
    }


def seen(session: tables.Session) -> tuple[Any, ...]:
    """Give what of a verdict is worth a row in the history when it changes: everything but for how long it holds."""
    return (
        session.tier,
        session.findings,
        session.resources,
        session.permits,
        session.routes,
        session.rate,
        session.policy_version,
    )


def verdict(session: tables.Session, *, now: datetime, lease: timedelta) -> dict[str, Any]:
    """Tell the agent where it stands: tier, all findings with their fixes, what it reaches, for how long."""
    return {
        "session": session.id,
        "tier": session.tier,
        "findings": session.findings,
        "resources": session.resources,
        "sequence": session.sequence,
        "lease_ms": remaining_ms(session.lease_until, now=now),
        "heartbeat_ms": _milliseconds(lease) // 3,
        "valid_until": session.valid_until.timestamp() if session.valid_until else None,
        "policy_version": session.policy_version,
        "expires_at": session.expires_at.timestamp(),
        "step_up": session.step_up,
        "trace": session.trace,
    }


def remaining_ms(until: datetime, *, now: datetime) -> int:
    """Whole milliseconds from `now` to `until`, never negative: no wall clock crosses a seam."""
    return max(0, _milliseconds(until - now))


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "reason": finding.reason,
        "tier": finding.tier,
        "effective": finding.effective,
        "since": finding.since.timestamp(),
        "grace_until": finding.grace_until.timestamp() if finding.grace_until else None,
        "fix": finding.fix,
        "explicit": finding.explicit,
        "owner": finding.owner,
        "link": finding.link,
    }


def _step_up(step: StepUp) -> dict[str, Any]:
    max_age = int(step.max_age.total_seconds()) if step.max_age is not None else None
    return {"resource": step.resource, "max_age": max_age, "acr_values": list(step.acr_values)}


def _resource(name: str, policy: Policy) -> dict[str, Any]:
    resource = policy.resources[name]
    where = [*(resource.destinations or ()), *(resource.names or ())]
    return {"name": name, "destinations": where, "ports": list(resource.ports or ())}
