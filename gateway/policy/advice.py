"""What is allowed in a policy and probably not meant: rules that add nothing, resources that nobody reaches, missing fixes.

Advice never keeps a policy from being loaded. Every piece stands at the place in the file that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.errors import Problem
from gateway.policy.checks import Check
from gateway.policy.document import NO_ANSWERS, Deny, Document, Grant, Rule
from gateway.policy.model import EVERYONE
from gateway.policy.names import PLATFORMS
from gateway.policy.policy import Policy
from gateway.policy.reach import overlap
from gateway.policy.source import Path, Source

Parts = Sequence[tuple[Source, Document]]

MOST_COMPARED = 400
"""Rules or permits that are compared pair by pair; beyond, a policy is larger than anybody reads advice about."""


def advice(policy: Policy, parts: Parts) -> list[Problem]:
    """List all of it, in the order of the files."""
    found = [
        *_unreached(policy, parts),
        *_overlapping(policy, parts),
        *_superfluous(policy, parts),
        *_unused(policy, parts),
        *_without_fix(parts),
    ]
    return sorted(set(found))


def _unreached(policy: Policy, parts: Parts) -> Iterator[Problem]:
    granted = {name for grant in policy.access for name in grant.resources}
    gone = _denied_to_all(policy)
    for source, document in parts:
        for name in document.resources:
            path: Path = ("resources", name)
            if name not in granted:
                yield source.problem(path, f"resources.{name}: nobody reaches it: no access rule names it", at_key=True)
            elif name in gone:
                yield source.problem(
                    path, f"resources.{name}: nobody reaches it: it is denied to everyone", at_key=True
                )


def _denied_to_all(policy: Policy) -> set[str]:
    always = [deny for deny in policy.deny if EVERYONE in deny.groups and not _conditions(deny)]
    return {name for deny in always for name in (deny.resources if deny.resources is not None else policy.resources)}


def _overlapping(policy: Policy, parts: Parts) -> Iterator[Problem]:
    permits = [(name, permit) for name, found in policy.resources.items() for permit in found.permits(NO_ANSWERS)]
    if len(permits) > MOST_COMPARED:
        return
    places = {name: source for source, document in parts for name in document.resources}
    told: set[tuple[str, str]] = set()
    for number, (name, permit) in enumerate(permits):
        for other, its in permits[:number]:
            if other != name and (other, name) not in told and overlap(permit, its):
                told.add((other, name))
                text = f"resources.{name}: overlaps {other}: {permit} and {its} let the same packets through"
                yield places[name].problem(("resources", name), text, at_key=True)


def _superfluous(policy: Policy, parts: Parts) -> Iterator[Problem]:
    """Find grants that another one gives already: to all of the groups, at no better a tier, under no condition more."""
    rules = [(source, index, grant) for source, document in parts for index, grant in enumerate(document.access)]
    if len(rules) > MOST_COMPARED:
        return
    rank = policy.tiers.index
    for number, (source, index, grant) in enumerate(rules):
        for place, (file, line, other) in enumerate(rules):
            wider = EVERYONE in other.groups or set(grant.groups) <= set(other.groups)
            gives = wider and rank(other.tier) >= rank(grant.tier) and set(grant.resources) <= set(other.resources)
            unconditional = not _conditions(other) or _conditions(other) == _conditions(grant)
            same = place < number or not _gives(policy, grant, other)
            if place != number and gives and unconditional and same:
                where = file.problem(("access", line), "")
                text = f"access.{index}: adds nothing: {where.file}:{where.line} gives the same already"
                yield source.problem(("access", index), text)
                break


def _gives(policy: Policy, one: Grant, other: Grant) -> bool:
    """Say whether `one` gives all that `other` does: then only the later of the two adds nothing."""
    rank = policy.tiers.index
    wider = EVERYONE in one.groups or set(other.groups) <= set(one.groups)
    return wider and rank(one.tier) >= rank(other.tier) and set(other.resources) <= set(one.resources)


def _conditions(rule: Rule) -> list[object]:
    return [c for c in (rule.tags, rule.devices, rule.when, rule.networks, rule.countries) if c is not None]


def _unused(policy: Policy, parts: Parts) -> Iterator[Problem]:
    rules: list[Grant | Deny] = [*policy.access, *policy.deny]
    used = {
        "windows": {name for rule in rules for name in rule.when or ()},
        "networks": {name for rule in rules for name in rule.networks or ()},
    }
    leads = {check.otherwise for check in policy.checks.values()} | {grant.tier for grant in policy.access}
    leads |= {
        policy.tiers[0],
        policy.denied,
        policy.worst_tier,
        policy.session.without_report,
        policy.session.without_login,
    }
    for source, document in parts:
        for section, names in used.items():
            for name in getattr(document, section):
                if name not in names:
                    yield source.problem((section, name), f"{section}.{name}: no rule uses it", at_key=True)
        for index, tier in enumerate(document.tiers or ()):
            if tier not in leads:
                yield source.problem(("tiers", index), f"tiers: nothing leads to {tier}, and nothing is granted at it")


def _without_fix(parts: Parts) -> Iterator[Problem]:
    for source, document in parts:
        for name, check in document.checks.items():
            missing = [platform for platform in check.platforms or PLATFORMS if not _fixed(check, platform)]
            if missing and not check.warn:
                text = f"checks.{name}: has no fix for {', '.join(missing)}: whoever fails it is not told what to do"
                yield source.problem(("checks", name), text, at_key=True)


def _fixed(check: Check, platform: str) -> bool:
    return check.fix_for(platform, {}) is not None or any(_fixed(part, platform) for part in check.parts)
