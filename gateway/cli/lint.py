"""`sallyport policy lint FILE…`: what pre-commit calls with the files that are about to be committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import HostError, PolicyError, Problem
from gateway.policy import trial
from gateway.policy.advice import advice
from gateway.policy.format import formatted
from gateway.policy.load import load_parts
from gateway.policy.suite import fixtures_beside, load_fixtures

TESTS = "tests"


@dataclass(frozen=True, slots=True)
class Linted:
    """What is wrong with one policy: problems of its files, advice, fixtures that come out otherwise, files in another form."""

    policy: Path
    problems: tuple[Problem, ...] = ()
    advice: tuple[Problem, ...] = ()

    @property
    def sound(self) -> bool:
        return not (self.problems or self.advice)


def policies(files: Iterable[Path]) -> list[Path]:
    """Name the policies that these files are of: a folder of them, or the one that a folder of fixtures is beside."""
    found = set()
    for file in files:
        folder = file if file.is_dir() else file.parent
        fixtures = folder.resolve().parent.name == TESTS
        policy = folder.resolve().parent.parent / folder.resolve().name if fixtures else folder
        if policy.is_dir() and _is_policy(policy):
            found.add(policy)
    return sorted(found)


def _is_policy(folder: Path) -> bool:
    """Say whether a file of the folder names a policy: other YAML is none of our business."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in sorted(folder.glob("*.yaml")))
    return any(text.startswith("policy:") or "\npolicy:" in text for text in texts)


def linted(policy: Path) -> Linted:
    """Check and test one policy."""
    try:
        made, parts = load_parts(policy)
        found = [*advice(made, parts), *_unformatted(policy)]
        beside = fixtures_beside(policy)
        if beside.is_dir():
            cases = load_fixtures(beside, made)
            found += _wrong(trial.hold(made, case) for case in cases)
            found += _unformatted(beside)
    except PolicyError as error:
        return Linted(policy, error.problems)
    return Linted(policy, (), tuple(found))


def _wrong(trials: Iterable[trial.Trial]) -> Iterator[Problem]:
    for done in trials:
        for difference in done.differences:
            yield Problem(done.case.file, done.case.line, done.case.column, f"{done.case.fixture.name}: {difference}")


def format_files(path: Path, *, write: bool) -> Iterator[Path]:
    """Name the files that are in another form than the canonical one, and `write` it. Raises HostError."""
    for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
        try:
            text = file.read_bytes().decode("utf-8")
            made = formatted(text)
            if made != text:
                if write:
                    file.write_bytes(made.encode())
                yield file
        except UnicodeDecodeError:
            continue  # `check` says what is wrong with it
        except OSError as error:
            raise HostError(f"{file} cannot be formatted: {error.strerror}") from None


def _unformatted(folder: Path) -> Iterator[Problem]:
    for file in format_files(folder, write=False):
        if file.parent == folder:
            yield Problem(str(file), 1, 1, "is not in the canonical form; run sallyport policy fmt")
