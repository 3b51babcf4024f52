"""Policy files to a Policy, or to all of their problems at once. The only file here that reads files.

A folder is one policy: its `*.yaml` are parts whose order means nothing. `tiers`, `session` and the name stand in one of
them; resources and checks have unique names; access rules and limits add up. What cannot be read grants nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gateway.errors import PolicyError, Problem
from gateway.policy import references
from gateway.policy.document import Document, SessionRules, SignalRules, keys_at
from gateway.policy.policy import Policy
from gateway.policy.source import MAX_BYTES, Source, parse
from gateway.policy.validation import validate

MAX_FILES = 256
MAX_PROBLEMS = 100
"""More than anybody repairs at once; the rest would only hide them."""

_DOCUMENT = TypeAdapter(Document)


def load_policy(path: Path) -> Policy:
    """Load the policy in a folder (its `*.yaml`, not those of folders below) or in one file. Raises PolicyError."""
    return _policy([(str(file), read(file)) for file in files(path)])


def texts(path: Path) -> dict[str, bytes]:
    """Read the files of a policy as they are, by name: what `assemble` makes the same policy of. Raises PolicyError."""
    return {file.name: read(file) for file in files(path)}


def assemble(texts: Mapping[str, bytes]) -> Policy:
    """Load a policy from the texts of its files. Raises PolicyError."""
    return _policy(sorted(texts.items()))


def loads(text: str | bytes, name: str) -> Policy:
    """Load a policy that is one text; `name` stands for the file in problems. Raises PolicyError."""
    return _policy([(name, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))])


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


def _policy(parts: Iterable[tuple[str, bytes]]) -> Policy:
    sources: list[Source] = []
    problems: list[Problem] = []
    for name, raw in parts:
        try:
            sources.append(parse(raw, name))
        except PolicyError as error:
            problems += error.problems
    whole = not problems  # what an unreadable file would have said is not missing elsewhere
    documents = [validate(_DOCUMENT, source, keys_at) for source in sources]
    problems += chain.from_iterable(source.problems for source in sources)
    if whole:
        problems += references.problems(sources)
    if problems:
        raise PolicyError(*sorted(set(problems))[:MAX_PROBLEMS])
    return _compiled(_merged([document for document in documents if document is not None]))


def _merged(documents: list[Document]) -> Document:
    return Document(
        policy=next(d.policy for d in documents if d.policy),
        tiers=next(d.tiers for d in documents if d.tiers),
        resources={name: resource for d in documents for name, resource in d.resources.items()},
        access=[grant for d in documents for grant in d.access],
        checks={name: check for d in documents for name, check in d.checks.items()},
        session=next((d.session for d in documents if d.session), SessionRules()),
        signals=next((d.signals for d in documents if d.signals), None),
        limits=[limit for d in documents for limit in d.limits],
    )


def _compiled(document: Document) -> Policy:
    assert document.policy is not None
    assert document.tiers is not None
    assert document.session is not None
    return Policy(
        name=document.policy,
        tiers=tuple(document.tiers),
        resources=document.resources,
        access=tuple(document.access),
        checks=dict(sorted(document.checks.items())),
        session=document.session,
        limits=tuple(document.limits),
        version=_version(document),
        signals=document.signals or SignalRules(),
    )


def _version(document: Document) -> str:
    """Hash what the policy means: the order of lists, the split into files and spelled-out defaults change nothing."""
    plain = _DOCUMENT.dump_python(document, mode="json", exclude_defaults=True)
    tiers = plain.pop("tiers")
    canonical = json.dumps([tiers, _unordered(plain)], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unordered(member) for name, member in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_unordered(member), sort_keys=True) for member in value})
    return value
