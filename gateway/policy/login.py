"""What a policy asks of the login behind a session, and what the provider's security events mean. Pure.

A login that is older than `session.reauthenticate` leads to `session.without_login`, or ends the session. A resource with
`max_age` or `acr_values` is closed until a login is young and strong enough. Ten and two minutes before either happens
the user is told: each warning is another finding, so that an agent that tells what is new tells both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from gateway.policy import durations
from gateway.policy.document import Resource
from gateway.policy.judgement import Judgement
from gateway.policy.model import LOGIN, Finding, Signal, StepUp, Subject
from gateway.policy.policy import Policy

WARNINGS = (timedelta(minutes=10), timedelta(minutes=2))
FIX = "sallyport-agent login"

SAYS: Mapping[Signal, tuple[str, str | None]] = {
    Signal.CREDENTIAL_CHANGE: ("a password or key of the user was changed since the login", FIX),
    Signal.LOWER_ASSURANCE: ("the identity provider trusts the login less than before", FIX),
    Signal.NOT_COMPLIANT: ("the device management says that the device is not compliant", None),
    Signal.MEDIUM_RISK: ("the identity provider sees a medium risk", None),
    Signal.HIGH_RISK: ("the identity provider sees a high risk", None),
}

REGAINED = (Signal.CREDENTIAL_CHANGE, Signal.LOWER_ASSURANCE)
"""What another login takes back."""


def judgements(
    policy: Policy, subject: Subject, before: Mapping[str, datetime], *, now: datetime
) -> Iterator[Judgement]:
    """Hold the age of the login and the signals against the policy. `before` says since when a signal was seen."""
    if subject.authenticated_at is not None:
        yield _age(policy, subject.authenticated_at + policy.session.reauthenticate, now=now)
    for signal in sorted(subject.signals):
        tier = _tier(policy, signal)
        if tier is not None:
            since = min(before.get(signal, now), now)
            reason, fix = SAYS[signal]
            yield Judgement(signal, Finding(signal, reason, tier, True, since, None, fix), since, None)


def opened(
    policy: Policy, subject: Subject, resources: Collection[str], *, now: datetime
) -> tuple[tuple[str, ...], tuple[StepUp, ...], list[Judgement]]:
    """Split what a tier grants into what is open and what another login would open, with what time changes about it."""
    open_now: list[str] = []
    closed: list[StepUp] = []
    judged: list[Judgement] = []
    for name in resources:
        resource = policy.resources[name]
        until = _open_until(resource, subject)
        if resource.max_age is None and not resource.acr_values:
            open_now.append(name)
        elif until is None or now >= until:
            closed.append(StepUp(name, resource.max_age, tuple(resource.acr_values or ())))
        else:
            open_now.append(name)
            judged += _ending(policy, name, until, now=now) if resource.max_age is not None else ()
    return tuple(open_now), tuple(closed), judged


def _age(policy: Policy, until: datetime, *, now: datetime) -> Judgement:
    tier = policy.without_login
    if now >= until:
        reason = f"the login is older than {durations.show(policy.session.reauthenticate)}"
        return Judgement(LOGIN, Finding(LOGIN, reason, tier, True, until, None, FIX), None, None)
    warned = _warned(until, now=now)
    if warned is None:
        return Judgement(LOGIN, None, None, until - WARNINGS[0])
    reason = f"log in again within {durations.show(warned)}"
    return Judgement(
        LOGIN, Finding(LOGIN, reason, tier, False, until - warned, until, FIX), None, _next(until, now=now)
    )


def _ending(policy: Policy, name: str, until: datetime, *, now: datetime) -> list[Judgement]:
    check, warned = f"{LOGIN}:{name}", _warned(until, now=now)
    if warned is None:
        return [Judgement(check, None, None, until - WARNINGS[0])]
    reason = f"{name} closes within {durations.show(warned)}: it needs a younger login"
    fix = f"{FIX} --for {name}"
    finding = Finding(check, reason, policy.tiers[0], False, until - warned, None, fix)  # it costs no tier
    return [Judgement(check, finding, None, _next(until, now=now))]


def _open_until(resource: Resource, subject: Subject) -> datetime | None:
    """Give the end of what the login opens. What is not known about it opens nothing."""
    if subject.authenticated_at is None or (resource.acr_values and subject.acr not in resource.acr_values):
        return None
    if resource.max_age is None:
        return datetime.max.replace(tzinfo=subject.authenticated_at.tzinfo)
    return subject.authenticated_at + resource.max_age


def _warned(until: datetime, *, now: datetime) -> timedelta | None:
    """Give the last warning that is due."""
    return next((before for before in reversed(WARNINGS) if now >= until - before), None)


def _next(until: datetime, *, now: datetime) -> datetime:
    return min(at for at in (*(until - before for before in WARNINGS), until) if at > now)


def _tier(policy: Policy, signal: Signal) -> str | None:
    """Where a signal leads: where the policy says, or what its name suggests."""
    named: str | None = getattr(policy.signals, signal.name.lower())
    if named is not None or signal is Signal.MEDIUM_RISK:
        return named
    return policy.without_login if signal in REGAINED else policy.worst_tier
