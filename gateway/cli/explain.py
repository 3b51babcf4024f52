"""What `sallyport policy explain` is about: a fixture, or a user and the facts that a device printed."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from agent.wire import Fact
from gateway.errors import PolicyError, Problem
from gateway.policy import story, trial
from gateway.policy.files import read
from gateway.policy.fixture import instant
from gateway.policy.model import EvidenceGrade, Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.source import MAX_BYTES
from gateway.policy.story import Story
from gateway.policy.suite import load_fixtures


def configure(parser: argparse.ArgumentParser) -> None:
    """Add whom and what the decision is about."""
    parser.add_argument(
        "policy", nargs="?", type=Path, metavar="DIR", help="the folder of a policy; without, the gateway's own record"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.add_argument("--trace", metavar="ID", help="of the record: the decision with this trace id")
    parser.add_argument("--fixture", metavar="FILE:NAME", help="the decision about this fixture")
    parser.add_argument("--user", metavar="NAME", help="or about a device of this user")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="a group of the user; repeatable")
    parser.add_argument("--device", default="", metavar="ID", help="the device's id; of the record also its name")
    posture = "the device's facts, as `sallyport-agent report --print` prints them; without, it has not reported"
    parser.add_argument("--posture", type=Path, metavar="FILE", help=posture)
    parser.add_argument("--at", type=_time, metavar="TIME", help="when, in UTC: 2026-03-01T12:00:00Z; without, now")


def explained(arguments: argparse.Namespace, policy: Policy) -> Story:
    """Tell the decision that the arguments ask for. Raises PolicyError when there is no such fixture or no such facts."""
    if arguments.fixture is not None:
        return _of_fixture(policy, arguments.fixture)
    now = arguments.at or datetime.now(UTC)
    subject = Subject(arguments.user, frozenset(arguments.group), arguments.device)
    posture = _posture(arguments.posture, now=now) if arguments.posture is not None else None
    return story.told(policy, subject, posture, now=now)


def wrong_call(arguments: argparse.Namespace) -> str | None:
    """Say what is wrong with the choice of arguments, if anything is."""
    if arguments.policy is None:
        return _wrong_record(arguments)
    if arguments.trace is not None:
        return "--trace is of the record, which takes no DIR"
    if not arguments.policy.exists():
        return f"argument DIR: {arguments.policy} does not exist"
    if (arguments.fixture is None) == (arguments.user is None):
        return "needs either --fixture FILE:NAME or --user NAME"
    about_user = (arguments.group, arguments.device, arguments.posture, arguments.at)
    if arguments.fixture is not None and any(about_user):
        return "a fixture has its own user, groups, device, posture and time"
    return None


def _wrong_record(arguments: argparse.Namespace) -> str | None:
    whom = bool(arguments.user) and bool(arguments.device)
    if arguments.fixture or arguments.group or arguments.posture or whom == (arguments.trace is not None):
        return "without DIR, needs --user NAME and --device NAME, with --at TIME or not, or --trace ID alone"
    if arguments.trace is not None and (arguments.at or arguments.user or arguments.device):
        return "a trace id has its own device and time"
    return None


def _time(text: str) -> datetime:
    try:
        return instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}") from None


def _of_fixture(policy: Policy, place: str) -> Story:
    file, _, name = place.partition(":")
    cases = [case for case in load_fixtures(Path(file).parent, policy) if Path(case.file) == Path(file)]
    case = next((case for case in cases if case.fixture.name == name), None)
    if case is None:
        names = "; ".join(case.fixture.name for case in cases) or "none: it has none"
        raise PolicyError(Problem(file, 1, 1, f"has no fixture {name!r}; allowed are {names}"))
    since = trial.failing_since(case)
    return story.told(
        policy,
        trial.subject(case),
        trial.posture(case),
        now=case.fixture.at,
        failing_since=since,
        answers=trial.answers(case),
    )


def _posture(file: Path, *, now: datetime) -> Posture:
    """Read facts as if the gateway had received them now. Nobody has signed them."""
    raw = read(file)
    try:
        if len(raw) > MAX_BYTES:
            raise ValueError(f"has more than {MAX_BYTES} bytes")
        facts = {str(name): Fact.from_json(members) for name, members in json.loads(raw).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        text = f"holds no facts as `sallyport-agent report --print` prints them: {error}"
        raise PolicyError(Problem(str(file), 1, 1, text[:300])) from None
    return Posture(facts, observed_at=now, received_at=now, grade=EvidenceGrade.CLAIMED)
