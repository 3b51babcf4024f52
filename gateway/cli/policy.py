"""`sallyport policy`: begin, check, test, explain, plan, replay and apply policies. The first three need no gateway."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.access.application import Proposal
from gateway.cli import apply, explain, fleet, lint, narration, places, plan, recorded, replay, shipped, watching
from gateway.cli import trials as trials_told
from gateway.errors import PolicyError, Problem
from gateway.policy import schema, trial
from gateway.policy.advice import advice
from gateway.policy.coverage import covered
from gateway.policy.load import load_parts, load_policy
from gateway.policy.plan import planned
from gateway.policy.policy import Policy
from gateway.policy.suite import Case, fixtures_beside, load_fixtures

STATUS = "exit status: 0 sound, 1 problems, 2 wrong call"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    parser.epilog = STATUS
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = _add(
        commands, "check", run_check, "show every problem of a policy as file:line:column, with what is allowed"
    )
    check.add_argument("--strict", action="store_true", help="status 1 for advice too")
    test = _add(commands, "test", run_test, "decide about fixtures, and show what comes out otherwise than expected")
    test.add_argument(
        "--fixtures", type=_folder, metavar="DIR", help="their folder; otherwise tests/<name of the policy> beside it"
    )
    test.add_argument(
        "--coverage", action="store_true", help="say what no fixture tries, with status 1 if there is any"
    )
    test.add_argument("--watch", action="store_true", help="again whenever a file changes, until it is interrupted")
    explain_purpose = "tell one decision: why, what would be better, what comes next"
    explained = commands.add_parser("explain", help=explain_purpose, description=explain_purpose, epilog=STATUS)
    explain.configure(explained)
    explained.set_defaults(run=run_explain, refuse=explained.error)
    plan.configure(
        _add(commands, "plan", run_plan, "say what the policy would do to every live session, and gate on it")
    )
    replay_purpose = (
        "say what the policy would have done over recorded time, and whether it decides again what it decided"
    )
    replay.configure(_add(commands, "replay", run_replay, replay_purpose))
    apply.configure(
        _add(commands, "apply", run_apply, "put the policy in force at the gateway, signed, for all or in stages")
    )
    breaker_purpose = "list what the mass-cut breaker holds, or let it go on"
    breaker = commands.add_parser("breaker", help=breaker_purpose, description=breaker_purpose)
    apply.configure_breaker(breaker)
    breaker.set_defaults(run=run_breaker, refuse=breaker.error)
    snapshot_purpose = "write the live fleet to a file, to plan against where no gateway is"
    snapshot = commands.add_parser("snapshot", help=snapshot_purpose, description=snapshot_purpose)
    snapshot.add_argument("file", type=Path, metavar="FILE", help="a new file; it will hold users and facts")
    snapshot.add_argument("--from", dest="gateway", metavar="URL", help="ask this gateway in place of its database")
    snapshot.add_argument("--token-file", type=_existing, metavar="FILE", help="holds an API token of an auditor")
    snapshot.add_argument("--ca", type=_existing, metavar="FILE", help="the authority of the gateway's certificate")
    snapshot.set_defaults(run=run_snapshot, refuse=snapshot.error)
    fmt_purpose = "write policy files and fixtures in the canonical form; comments stay"
    fmt = commands.add_parser("fmt", help=fmt_purpose, description=fmt_purpose, epilog=STATUS)
    fmt.add_argument("paths", nargs="+", type=_existing, metavar="PATH", help="files, or folders of *.yaml")
    fmt.add_argument("--check", action="store_true", help="write nothing; status 1 when a file is not in that form")
    fmt.set_defaults(run=run_fmt)
    lint_purpose = "check, test and compare the form of the policies that these files are of, as pre-commit asks"
    linter = commands.add_parser("lint", help=lint_purpose, description=lint_purpose, epilog=STATUS)
    linter.add_argument("paths", nargs="+", type=_existing, metavar="PATH", help="files or folders")
    linter.set_defaults(run=run_lint)
    init_purpose = "write a commented policy for a small company, with fixtures, to begin with; nothing is overwritten"
    init = commands.add_parser("init", help=init_purpose, description=init_purpose)
    init.add_argument("policy", type=Path, metavar="DIR", help="a new folder, which also names the policy")
    init.set_defaults(run=run_init)
    schema_purpose = "print the JSON Schema of policy files, for editors"
    commands.add_parser("schema", help=schema_purpose, description=schema_purpose).set_defaults(run=run_schema)


def run_check(arguments: argparse.Namespace) -> int:
    """Load the policy. Status 0 when it is sound, 1 otherwise; with --strict also 1 when there is advice."""
    try:
        policy, parts = load_parts(arguments.policy)
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    found = advice(policy, parts)
    if arguments.json:
        _print_json({"sound": True, **_identity(policy), "problems": [], "advice": [_problem_json(p) for p in found]})
    else:
        print("\n".join([*places.shown(found, kind="advice"), f"{policy.name} is sound: {_size(policy)}"]))
        print(f"version {policy.version}")
    return 1 if found and arguments.strict else 0


def run_test(arguments: argparse.Namespace) -> int:
    """Hold every fixture against the policy. Status 0 when all come out as expected, 1 otherwise."""
    if arguments.watch:
        return watching.repeated(lambda: _tested(arguments), lambda: [arguments.policy, _fixtures(arguments)])
    return _tested(arguments)


def _tested(arguments: argparse.Namespace) -> int:
    try:
        policy = load_policy(arguments.policy)
        cases = load_fixtures(_fixtures(arguments), policy)
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    trials = [trial.hold(policy, case) for case in cases]
    wrong = sum(not done.passed for done in trials)
    tried = covered(policy, trials)
    if arguments.json:
        told = {"ok": not wrong, **_identity(policy), "fixtures": [trials_told.as_json(done) for done in trials]}
        _print_json({**told, "coverage": asdict(tried)})
    else:
        print("\n".join(line for done in trials for line in trials_told.as_text(done)))
        if arguments.coverage:
            print("\n".join(trials_told.coverage(policy, tried)))
        print(f"{len(trials)} fixtures of {policy.name}: {len(trials) - wrong} as expected, {wrong} otherwise")
    return 1 if wrong or (arguments.coverage and not tried.whole) else 0


def run_explain(arguments: argparse.Namespace) -> int:
    """Tell one decision. Status 0 whatever it is, 1 when there is nothing to tell."""
    wrong = explain.wrong_call(arguments)
    if wrong is not None:
        arguments.refuse(wrong)
    if arguments.policy is None:
        return _run_recorded(arguments)
    try:
        told = explain.explained(arguments, load_policy(arguments.policy))
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    if arguments.json:
        _print_json(narration.as_json(told))
    else:
        print("\n".join(narration.as_text(told)))
    return 0


def run_plan(arguments: argparse.Namespace) -> int:
    """Plan the policy. Status 0 within the limits, 1 when one is exceeded or the policy is not sound."""
    try:
        policy = load_policy(arguments.policy)
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    with fleet.opened(arguments.against) as (at, sessions):
        made = planned(policy, sessions, at=at)
    held = plan.gates(arguments, made)
    if arguments.json:
        _print_json(plan.as_json(made, arguments.against, held))
    else:
        print("\n".join(plan.as_text(made, arguments.against, held)))
    return 1 if any(gate["exceeded"] for gate in held) else 0


def run_apply(arguments: argparse.Namespace) -> int:
    """Apply the policy. Status 0 when it is in force, held or not; 1 when nothing has changed."""
    try:
        with redirect_stdout(sys.stderr):  # what is logged on the way; what is printed is for programs
            done = apply.run(arguments)
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    if isinstance(done, Proposal):
        print(done.manifest.text().decode(), end="")
    elif arguments.json:
        _print_json(apply.as_json(done))
    else:
        print("\n".join(apply.as_text(done)))
    return 0


def run_breaker(arguments: argparse.Namespace) -> int:
    """List the holds, or answer one. Status 0, or 1 through GatewayError."""
    if (arguments.answer is None) != (arguments.hold is None):
        arguments.refuse("proceed needs the NUMBER of a hold")
    if arguments.hold is not None:
        with redirect_stdout(sys.stderr):
            count = apply.proceed(arguments.hold)
        print(
            f"hold {arguments.hold} is closed: what it kept from {count} session{'' if count == 1 else 's'} takes effect now"
        )
        return 0
    holds = apply.pending()
    if arguments.json:
        _print_json({"holds": holds})
    else:
        print("\n".join(apply.holds_as_text(holds)))
    return 0


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay the record. Status 0 whatever was lost, 1 when a verdict of this very policy does not come out again."""
    try:
        policy, done = replay.run(arguments)
    except PolicyError as error:
        return _unsound(error, as_json=arguments.json)
    if arguments.json:
        _print_json(replay.as_json(policy, done))
    else:
        print("\n".join(replay.as_text(policy, done)))
    return 1 if done.differing else 0


def run_snapshot(arguments: argparse.Namespace) -> int:
    if (arguments.gateway is None) != (arguments.token_file is None):
        arguments.refuse("--from and --token-file belong together")
    if arguments.gateway is not None:
        count = fleet.fetch(arguments.file, arguments.gateway, token=arguments.token_file, authority=arguments.ca)
    else:
        count = fleet.save(arguments.file)
    print(f"wrote {arguments.file}: {count} live session{'' if count == 1 else 's'}")
    return 0


def _run_recorded(arguments: argparse.Namespace) -> int:
    """Tell a decision of the record. Status 1 when it does not come out as it did then."""
    at = arguments.at
    found = recorded.told(user=arguments.user, device=arguments.device or None, trace=arguments.trace, at=at)
    remark = {True: "the same as recorded, bit for bit", False: "NOT what was recorded", None: "as of now"}
    if arguments.json:
        _print_json({"trace": found.trace, "reproduced": found.reproduced, **narration.as_json(found.story)})
    else:
        print(f"decision {found.trace}, {remark[found.reproduced]}")
        print("\n".join(narration.as_text(found.story)))
    return 1 if found.reproduced is False else 0


def run_init(arguments: argparse.Namespace) -> int:
    """Write the starter policy. Status 0, or 1 through HostError when something is in the way."""
    for file in shipped.begin(arguments.policy):
        print(f"wrote {os.path.relpath(file)}")
    print(f"next: sallyport policy test {arguments.policy}")
    return 0


def run_fmt(arguments: argparse.Namespace) -> int:
    """Format the files. Status 0, or with --check 1 when one would change."""
    changed = [file for path in arguments.paths for file in lint.format_files(path, write=not arguments.check)]
    for file in changed:
        print(f"{'would format' if arguments.check else 'formatted'} {file}")
    return 1 if changed and arguments.check else 0


def run_lint(arguments: argparse.Namespace) -> int:
    """Look at every policy that the files are of. Status 1 when anything is to be said about one."""
    found = [lint.linted(policy) for policy in lint.policies(arguments.paths)]
    for done in found:
        for line in (*places.shown(done.problems), *places.shown(done.advice, kind="advice")):
            print(line)
        print(f"{done.policy}: {'ok' if done.sound else 'not ok'}")
    return 0 if all(done.sound for done in found) else 1


def run_schema(_arguments: argparse.Namespace) -> int:
    _print_json(schema.json_schema())
    return 0


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], purpose: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose, epilog=STATUS)
    command.add_argument("policy", type=_existing, metavar="DIR", help="the folder of the policy")
    command.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    command.set_defaults(run=run)
    return command


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return Path(text)


def _fixtures(arguments: argparse.Namespace) -> Path:
    if arguments.fixtures is not None:
        return Path(arguments.fixtures)
    folder = fixtures_beside(arguments.policy)
    if not arguments.policy.is_absolute():
        folder = Path(os.path.relpath(folder))  # as the policy was named, so are the places in its fixtures
    if not folder.is_dir():
        text = "is not there; it must hold the policy's fixtures, or name their folder with --fixtures"
        raise PolicyError(Problem(str(folder), 1, 1, text))
    return folder


def _unsound(error: PolicyError, *, as_json: bool) -> int:
    if as_json:
        _print_json({"sound": False, "problems": [_problem_json(problem) for problem in error.problems]})
    else:
        print("\n".join(places.shown(error.problems)))
        print(f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}")
    return 1


def _identity(policy: Policy) -> dict[str, Any]:
    return {"policy": policy.name, "version": policy.version}


def _size(policy: Policy) -> str:
    counts = {"checks": policy.checks, "resources": policy.resources, "access rules": policy.access}
    return ", ".join(f"{len(parts)} {name}" for name, parts in counts.items()) + f", tiers {' > '.join(policy.tiers)}"


def _problem_json(problem: Problem) -> dict[str, Any]:
    return _place(problem) | {"text": problem.text}


def _place(at: Problem | Case) -> dict[str, Any]:
    return {"file": at.file, "line": at.line, "column": at.column}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
