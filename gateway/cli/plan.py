"""`sallyport policy plan`: what a policy would do to the fleet, for a person and for a pipeline that gates on it."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gateway.policy.plan import Effect, Limit, Move, Plan

SHOWN = 20
"""Sessions of one kind that are listed for a person; `--json` has them all."""

LOSING = (Effect.KILLED, Effect.DOWNGRADED)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add against what, and the limits."""
    parser.add_argument(
        "--against", default="live", metavar="live|FILE", help="the gateway's database, or a snapshot; live unless said"
    )
    parser.add_argument("--max-killed", type=limit, metavar="N|P%", help="status 1 when more sessions would be killed")
    parser.add_argument("--max-downgraded", type=limit, metavar="N|P%", help="the same for downgraded sessions")


def limit(text: str) -> Limit:
    """Read a limit of the command line."""
    try:
        return Limit.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def gates(arguments: argparse.Namespace, plan: Plan) -> list[dict[str, Any]]:
    """Hold the plan against the limits that were asked for."""
    asked = ((Effect.KILLED, arguments.max_killed), (Effect.DOWNGRADED, arguments.max_downgraded))
    return [
        {
            "effect": effect.value,
            "limit": most.text,
            "sessions": plan.counts[effect],
            "of": plan.sessions,
            "exceeded": most.exceeded(plan.counts[effect], of=plan.sessions),
        }
        for effect, most in asked
        if most is not None
    ]


def as_text(plan: Plan, against: str, held: list[dict[str, Any]]) -> Iterator[str]:
    """Write the plan for a person."""
    where = "the live fleet" if against == "live" else against
    policy = f"{plan.policy.name} {plan.policy.version[:12]}"
    yield f"plan of {policy} against {where} of {plan.at:%Y-%m-%d %H:%M:%S} UTC: {_counted(plan.sessions, 'session')}"
    for effect in Effect:
        yield f"  {effect.value:<10} {plan.counts[effect]:>7}{_whose(plan, effect)}"
    for title, lines in (("by check", _by_check(plan)), ("out of reach", _lost(plan)), ("in grace", _graces(plan))):
        if written := list(lines):
            yield title
            yield from written
    for effect in (*LOSING, Effect.RESTORED):
        yield from _listed(plan, effect)
    for gate in held:
        verdict = "EXCEEDED" if gate["exceeded"] else "ok      "
        yield f"{verdict} at most {gate['limit']} {gate['effect']}: {gate['sessions']} of {gate['of']}"


def _whose(plan: Plan, effect: Effect) -> str:
    if effect in (Effect.UNCHANGED, Effect.ENDING) or not plan.counts[effect]:
        return {Effect.ENDING: "   by themselves, whatever the policy"}.get(effect, "")
    users = {move.user for move in plan.of(effect)}
    devices = {move.device for move in plan.of(effect)}
    return f"   of {_counted(len(users), 'user')} on {_counted(len(devices), 'device')}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _by_check(plan: Plan) -> Iterator[str]:
    for cause, effects in by_check(plan).items():
        yield f"  {cause}: {', '.join(f'{effect} {count}' for effect, count in effects.items())}"


def by_check(plan: Plan) -> dict[str, dict[str, int]]:
    """Count the sessions that lose something, by every check that leads there."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {effect.value: 0 for effect in LOSING})
    for move in plan.of(*LOSING):
        for cause in move.causes:
            found[cause][move.effect.value] += 1
    return dict(sorted(found.items()))


def _lost(plan: Plan) -> Iterator[str]:
    for resource, moves in _by_resource(plan).items():
        users = {move.user for move in moves}
        yield f"  {resource}: for {_counted(len(moves), 'session')} of {_counted(len(users), 'user')}"


def _by_resource(plan: Plan) -> dict[str, list[Move]]:
    found: dict[str, list[Move]] = defaultdict(list)
    for move in plan.of(*LOSING):
        for resource in move.lost:
            found[resource].append(move)
    return dict(sorted(found.items()))


def _graces(plan: Plan) -> Iterator[str]:
    for check, (count, first, last, tier) in graces(plan).items():
        span = f"until {first:%Y-%m-%d %H:%M}" + (f" to {last:%Y-%m-%d %H:%M}" if last != first else "")
        yield f"  {check}: {_counted(count, 'session')} {span} UTC, then {tier}"


def graces(plan: Plan) -> dict[str, tuple[int, datetime, datetime, str]]:
    """Count the sessions in grace by check, with the first and the last end."""
    found: dict[str, tuple[int, datetime, datetime, str]] = {}
    for move in plan.moves:
        for grace in move.graces:
            count, first, last, _ = found.get(grace.check, (0, grace.until, grace.until, grace.tier))
            found[grace.check] = (count + 1, min(first, grace.until), max(last, grace.until), grace.tier)
    return dict(sorted(found.items()))


def _listed(plan: Plan, effect: Effect) -> Iterator[str]:
    moves = list(plan.of(effect))
    if moves:
        yield effect.value + (f", the first {SHOWN}; --json lists all" if len(moves) > SHOWN else "")
    for move in moves[:SHOWN]:
        why = f" by {', '.join(move.causes)}" if move.causes else ""
        lost = f", without {', '.join(move.lost)}" if move.lost else ""
        gained = f", with {', '.join(move.gained)}" if move.gained else ""
        yield f"  {_plain(move.user)} on {_plain(move.device_name)}: {move.before} -> {move.after}{why}{lost}{gained}"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:60])


def as_json(plan: Plan, against: str, held: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the plan for a program: every session that is affected."""
    return {
        "policy": plan.policy.name,
        "version": plan.policy.version,
        "against": against,
        "at": plan.at.isoformat(),
        "ok": not any(gate["exceeded"] for gate in held),
        "gates": held,
        "sessions": plan.sessions,
        "counts": {effect.value: plan.counts[effect] for effect in Effect},
        "users": sorted({move.user for move in plan.of(*LOSING)}),
        "devices": sorted({move.device for move in plan.of(*LOSING)}),
        "by_check": by_check(plan),
        "out_of_reach": {name: len(moves) for name, moves in _by_resource(plan).items()},
        "in_grace": {
            check: {"sessions": count, "first": first.isoformat(), "last": last.isoformat(), "then": tier}
            for check, (count, first, last, tier) in graces(plan).items()
        },
        "moves": [move_json(move) for move in plan.moves],
    }


def move_json(move: Move) -> dict[str, Any]:
    """Write what becomes of one session."""
    return {
        "session": move.session,
        "user": move.user,
        "device": move.device,
        "device_name": move.device_name,
        "effect": move.effect.value,
        "before": move.before,
        "after": move.after,
        "lost": list(move.lost),
        "gained": list(move.gained),
        "by": list(move.causes),
        "explicit": move.explicit,
        "in_grace": [{"check": g.check, "until": g.until.isoformat(), "then": g.tier} for g in move.graces],
    }
