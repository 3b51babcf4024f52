"""Applying a policy: verified, planned, checked against a lock-out and against limits, and written as one row.

Everything happens in one transaction: the plan is of the very state that the policy is applied to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from gateway.access import audit, breaker, fleet
from gateway.access.audit import Event
from gateway.access.policies import NAMESPACE, Manifest, digest, keep, kept, readable
from gateway.errors import PolicyRefused
from gateway.identity import sshsig
from gateway.identity.sshsig import Signer, Signers
from gateway.policy import standing
from gateway.policy.document import NO_ANSWERS
from gateway.policy.model import Subject
from gateway.policy.plan import IDLE, Effect, Plan, move
from gateway.policy.policy import Policy
from gateway.policy.stage import EVERYBODY, Budget, InForce
from gateway.store import tables


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy that somebody wants to apply, with the texts that it was loaded from."""

    policy: Policy
    files: Mapping[str, bytes]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying did: its number, the plan of that moment, and the hold if the breaker holds its cuts."""

    number: int
    plan: Plan
    hold: int | None


def latest(db: Session) -> tables.Application | None:
    """Give the application that holds."""
    return db.exec(select(tables.Application).order_by(col(tables.Application.number).desc())).first()


def proposed(
    db: Session, policy: Policy, files: Mapping[str, bytes], *, share: int, groups: Sequence[str], note: str
) -> Proposal:
    """Make the proposal that comes after what holds now."""
    before = latest(db)
    number = before.number + 1 if before else 1
    return Proposal(
        policy, files, Manifest(number, policy.version, digest(files), share, tuple(sorted(set(groups))), note)
    )


def apply(
    db: Session,
    proposal: Proposal,
    signature: str,
    *,
    signers: Signers,
    folder: Policy | None,
    budget: Budget,
    admin_group: str,
    limits: Callable[[Plan], str | None],
    now: datetime,
) -> Outcome:
    """Apply a policy: all of it in the caller's transaction, or nothing.

    `folder` is what is in force until the first application. Raises PolicyRefused, and nothing has changed then: for a
    signature that does not hold, somebody else's application in between, a lock-out of all administrators, or `limits`.
    """
    manifest = proposal.manifest
    signer = _signer(manifest, signature, signers)
    before = latest(db)
    if manifest.number != (before.number + 1 if before else 1):
        raise PolicyRefused("somebody else has applied a policy meanwhile: plan again")
    rules = _stage(db, proposal, before, folder, budget)
    plan, administrators = _planned(db, rules, admin_group, now=now)
    _refuse_lock_out(rules, plan, administrators, admin_group)
    if (refusal := limits(plan)) is not None:
        raise PolicyRefused(refusal)
    keep(db, proposal.policy, proposal.files, now=now).files = readable(proposal.files)  # those that were signed
    breaker.supersede(db, sorted(rules.versions), by=signer.name, now=now)
    _write(db, manifest, rules, plan, signature=signature, signer=signer, now=now)
    return Outcome(manifest.number, plan, _hold(db, rules, plan, now=now))


def _signer(manifest: Manifest, signature: str, signers: Signers) -> Signer:
    try:
        return sshsig.verify(manifest.text(), signature, signers, NAMESPACE)
    except ValueError as error:
        raise PolicyRefused(str(error)) from None


def _stage(
    db: Session, proposal: Proposal, before: tables.Application | None, folder: Policy | None, budget: Budget
) -> InForce:
    manifest = proposal.manifest
    if manifest.share == EVERYBODY:
        return InForce(proposal.policy, manifest.number, budget=budget)
    if before is None:
        other = folder
    elif before.version == proposal.policy.version or before.before is not None:
        other = kept(db, before.before) if before.before else None  # a stage that grows, or takes the place of another
    else:
        other = kept(db, before.version)
    if other is None or db.get(tables.PolicyText, other.version) is None:
        raise PolicyRefused("a stage needs a policy for the others, and there is none: apply one to everybody first")
    return InForce(proposal.policy, manifest.number, other, manifest.share, frozenset(manifest.groups), budget)


def _planned(db: Session, rules: InForce, admin_group: str, *, now: datetime) -> tuple[Plan, set[str]]:
    administrators: set[str] = set()
    plan = Plan(rules.policy, now)
    for live in fleet.live(db, now=now):
        groups = live.question.subject.groups if live.question else frozenset()
        if admin_group in groups:
            administrators.add(live.session)
        plan.take(move(rules.of(live.device, groups), live))
    return plan, administrators


def _refuse_lock_out(rules: InForce, plan: Plan, administrators: set[str], group: str) -> None:
    policy = rules.policy
    administrator = Subject("administrator", frozenset({group}), "")
    if not (standing.routes(policy, administrator, NO_ANSWERS) or standing.asked_names(policy, administrator)):
        raise PolicyRefused(f"nobody of {group} would reach anything, not even at tier {policy.tiers[0]}")
    floor = {policy.denied, policy.worst_tier}
    out = {m.session for m in plan.of(Effect.KILLED, Effect.DOWNGRADED) if m.after in floor and m.before not in floor}
    if administrators and administrators <= out:
        count = len(administrators)
        raise PolicyRefused(f"every administrator who is connected ({count} of {group}) would be locked out")


def _write(
    db: Session, manifest: Manifest, rules: InForce, plan: Plan, *, signature: str, signer: Signer, now: datetime
) -> None:
    row = tables.Application(
        number=manifest.number,
        version=manifest.version,
        before=rules.before.version if rules.before else None,
        share=manifest.share,
        groups=list(manifest.groups),
        applied_at=now,
        applied_by=signer.name,
        key=signer.fingerprint,
        note=manifest.note,
        signature=signature,
    )
    db.add(row)
    audit.record(
        db,
        Event.POLICY_APPLIED,
        now=now,
        actor=signer.name,
        key=signer.fingerprint,
        number=manifest.number,
        version=manifest.version,
        share=manifest.share,
        groups=list(manifest.groups),
        note=manifest.note,
        plan={effect.value: plan.counts[effect] for effect in Effect},
    )


def _hold(db: Session, rules: InForce, plan: Plan, *, now: datetime) -> int | None:
    """Hold at once what is too much, so that not even the first of them are cut."""
    cuts = sum(not m.explicit and IDLE not in m.causes for m in plan.of(Effect.KILLED, Effect.DOWNGRADED))
    if rules.budget is None or rules.budget.allows(cuts, live=plan.sessions):
        return None
    cause = breaker.policy_cause(rules.policy.version)
    return breaker.open_hold(db, cause, affected=cuts, live=plan.sessions, now=now).number
