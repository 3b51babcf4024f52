"""A folder of fixtures to cases that can be tried, or to all of their problems at once.

Its `*.yaml` are parts whose order means nothing: a posture may stand in one file and be used in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from pydantic import TypeAdapter

from gateway.errors import PolicyError, Problem
from gateway.policy.files import files, read
from gateway.policy.fixture import UNREPORTED, Facts, Fixture, FixtureFile, keys_at
from gateway.policy.model import REPORT
from gateway.policy.policy import Policy
from gateway.policy.reach import Destination
from gateway.policy.source import Path, Source, parse
from gateway.policy.validation import validate


@dataclass(frozen=True, slots=True)
class Case:
    """A fixture with its place and its facts. `facts` None: the device has not reported."""

    file: str
    line: int
    column: int
    fixture: Fixture
    facts: Mapping[str, Any] | None


_FILE = TypeAdapter(FixtureFile)


def fixtures_beside(policy: File) -> File:
    """Name the folder of a policy's fixtures: `tests/<name>` beside the policy."""
    whole = policy.resolve()
    return whole.parent / "tests" / whole.name.removesuffix(".yaml")


def load_fixtures(folder: File, policy: Policy) -> list[Case]:
    """Load every fixture in a folder. Raises PolicyError: also when there is none, for nothing was tested then."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for file in files(folder, "fixture"):
        try:
            sources.append(parse(read(file), str(file)))
        except PolicyError as error:
            problems += error.problems
    read_files = [(source, validate(_FILE, source, keys_at)) for source in sources]
    problems += [problem for source in sources for problem in source.problems]
    if not problems:
        sound = [(source, content) for source, content in read_files if content is not None]
        problems += _unresolved(sound, policy)
        if not any(content.fixtures for _, content in sound):
            problems.append(Problem(str(folder), 1, 1, "holds no fixtures; a policy without fixtures is not tested"))
    if problems:
        raise PolicyError(*sorted(set(problems)))
    return list(_cases(sound))


Read = Sequence[tuple[Source, FixtureFile]]


def _unresolved(content: Read, policy: Policy) -> Iterator[Problem]:
    """Find the names that are used and do not exist, and those that stand for two things."""
    postures: dict[str, str] = {UNREPORTED: "the name of no report at all"}
    names: dict[str, str] = {}
    for source, file in content:
        for posture in file.postures:
            yield from _once(source, ("postures", posture), posture, postures)
        for index, fixture in enumerate(file.fixtures or ()):
            yield from _once(source, ("fixtures", index, "name"), fixture.name, names)
    known = sorted(postures)
    for source, file in content:
        for index, fixture in enumerate(file.fixtures or ()):
            for path, name, kind, allowed in _names(fixture, policy, known):
                if name not in allowed:
                    text = f"{name!r} is no {kind}; allowed are {', '.join(allowed)}"
                    yield _problem(source, ("fixtures", index, *path), text)
            for path, text in _senseless(fixture, policy):
                yield _problem(source, ("fixtures", index, *path), text)


def _once(source: Source, path: Path, name: str, said: dict[str, str]) -> Iterator[Problem]:
    if name in said:
        yield source.problem(path, f"{name!r} is also {said[name]}; allowed is once", at_key=path[0] == "postures")
    else:
        problem = source.problem(path, "", at_key=path[0] == "postures")
        said[name] = f"in {problem.file}:{problem.line}"


def _names(fixture: Fixture, policy: Policy, postures: Sequence[str]) -> Iterator[tuple[Path, str, str, Sequence[str]]]:
    checks = [REPORT, *policy.checks]
    if isinstance(fixture.posture, str):
        yield ("posture",), fixture.posture, "posture", postures
    yield ("expect", "tier"), fixture.expect.tier, "tier", policy.tiers
    for index, name in enumerate(fixture.expect.findings or ()):
        yield ("expect", "findings", index), name, "check", checks
    for name in fixture.failing_for:
        yield ("failing_for", name), name, "check", checks


def _senseless(fixture: Fixture, policy: Policy) -> Iterator[tuple[Path, str]]:
    if fixture.but and (fixture.posture == UNREPORTED or not isinstance(fixture.posture, str)):
        yield ("but",), "changes nothing here; allowed beside a posture that is named"
    for key in ("reachable", "unreachable"):
        for index, text in enumerate(getattr(fixture.expect, key)):
            try:
                _destination(text, policy)
            except ValueError as error:
                yield ("expect", key, index), f"{text[:80]!r} {error}"


def _destination(text: str, policy: Policy) -> None:
    if " " in text:
        Destination.parse(text)
    elif text not in policy.resources:
        names = ", ".join(sorted(policy.resources)) or "none: there are none"
        raise ValueError(f"is no resource; allowed are {names}, or a destination such as 10.20.0.10 tcp/443")


def _problem(source: Source, path: Path, text: str) -> Problem:
    return source.problem(path, f"{'.'.join(str(part) for part in path)}: {text}", at_key=path[-1] == "but")


def _cases(content: Read) -> Iterator[Case]:
    postures = {name: facts for _, file in content for name, facts in file.postures.items()}
    for source, file in content:
        for index, fixture in enumerate(file.fixtures or ()):
            line, column = source.values["fixtures", index]
            yield Case(source.name, line, column, fixture, _facts(fixture, postures))


def _facts(fixture: Fixture, postures: Mapping[str, Facts]) -> Mapping[str, Any] | None:
    if not isinstance(fixture.posture, str):
        return fixture.posture
    return None if fixture.posture == UNREPORTED else {**postures[fixture.posture], **fixture.but}
