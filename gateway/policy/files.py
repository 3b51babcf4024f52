"""Which files are a policy, and what is in them. The only file here that reads files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.errors import PolicyError, Problem
from gateway.policy.source import MAX_BYTES, Source

MAX_FILES = 256


def files(path: Path, what: str = "policy") -> list[Path]:
    """Name the files of a folder, sorted, or the one file. Raises PolicyError when there are none, too many, or one that would be missed."""
    try:
        beside = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise PolicyError(Problem(str(path), 1, 1, f"cannot be read: {error.strerror}")) from None
    missed = [file for file in beside if file.suffix.lower() in (".yml", ".yaml") and file.suffix != ".yaml"]
    if missed:  # its author believes that it counts
        raise PolicyError(*(Problem(str(file), 1, 1, "would not be read; allowed are names *.yaml") for file in missed))
    found = [file for file in beside if file.suffix == ".yaml"] if path.is_dir() else [path]
    if not 0 < len(found) <= MAX_FILES:
        text = f"holds {len(found)} {what} files; allowed are 1 to {MAX_FILES} named *.yaml"
        raise PolicyError(Problem(str(path), 1, 1, text))
    return found


def read(file: Path) -> bytes:
    """Read at most one byte more than is allowed. Raises PolicyError when the file cannot be read."""
    if not file.is_file():
        raise PolicyError(Problem(str(file), 1, 1, "is not a file that can be read"))
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(Problem(str(file), 1, 1, f"cannot be read: {error.strerror}")) from None


def included(source: Source, root: Path | None, known: set[Path]) -> Iterator[Path]:
    """Name the files that this one includes and that are not `known` yet, and add them there.

    What lies outside of the folder around the policy is refused, wherever a link leads: somebody who may propose a policy
    must not make the gateway, or a pipeline, read what is not one. Problems are added to the source.
    """
    named = source.data.get("include") if isinstance(source.data, dict) else None
    for index, text in enumerate(named if isinstance(named, list) else ()):
        if not isinstance(text, str):
            continue  # the document's own validation says so
        try:
            found = _inside(Path(source.name).parent / text, root)
        except (PolicyError, ValueError) as error:
            told = error.problems[0].text if isinstance(error, PolicyError) else str(error)
            source.problems.append(source.problem(("include", index), f"include.{index}: {text[:80]!r} {told}"))
            continue
        fresh = [file for file in found if file.resolve() not in known]
        known.update(file.resolve() for file in fresh)
        if len(known) > MAX_FILES:
            raise PolicyError(*source.problems, source.problem((), f"includes more than {MAX_FILES} files in all"))
        yield from fresh


def _inside(path: Path, root: Path | None) -> list[Path]:
    if root is None:
        raise ValueError("cannot be included: this policy is a text and not a file")
    around = root.resolve().parent
    try:
        whole = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise ValueError("cannot be found") from None
    if not whole.is_relative_to(around):
        raise ValueError(f"is outside of {around.name or around}, the folder around the policy")
    if not whole.exists() or (whole.is_file() and whole.suffix != ".yaml"):
        raise ValueError("is not there; allowed is a file *.yaml or a folder of them")
    return files(path)
