"""Policy files to a Policy, or to all of their problems at once.

A folder is one policy: its `*.yaml`, and what they include, are parts whose order means nothing. `tiers`, `session` and the name stand in one of
them; resources and checks have unique names; access rules and limits add up. What cannot be read grants nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gateway.errors import PolicyError, Problem
from gateway.policy import references
from gateway.policy.document import Document, SessionRules, SignalRules, keys_at
from gateway.policy.files import files, included, read
from gateway.policy.policy import Policy
from gateway.policy.source import Source, parse
from gateway.policy.validation import validate

MAX_PROBLEMS = 100
"""More than anybody repairs at once; the rest would only hide them."""

_DOCUMENT = TypeAdapter(Document)


def load_policy(path: Path) -> Policy:
    """Load the policy in a folder (its `*.yaml`, not those of folders below) or in one file, and what they include.

    Raises PolicyError.
    """
    return _policy(*_gathered(path))


def load_parts(path: Path) -> tuple[Policy, list[tuple[Source, Document]]]:
    """Load a policy, and give each of its files with what it says and where. Raises PolicyError."""
    gathered = _gathered(path)
    policy = _policy(*gathered)
    documents = ((source, validate(_DOCUMENT, source, keys_at)) for source in gathered[0])
    return policy, [(source, document) for source, document in documents if document is not None]


def texts(path: Path) -> dict[str, bytes]:
    """Read the files of a policy as they are, by name: what `assemble` makes the same policy of. Raises PolicyError."""
    _, problems, read_files = _gathered(path)
    if problems:
        raise PolicyError(*_sorted(problems))
    folder = path if path.is_dir() else path.parent
    return {os.path.relpath(name, folder): raw for name, raw in read_files.items()}


def assemble(texts: Mapping[str, bytes]) -> Policy:
    """Load a policy from the texts of all of its files: nothing else is included. Raises PolicyError."""
    return _policy(*_parsed(sorted(texts.items())))


def loads(text: str | bytes, name: str) -> Policy:
    """Load a policy that is one text; `name` stands for the file in problems. Raises PolicyError."""
    sources, problems, raw = _parsed(
        [(name, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))]
    )
    for source in sources:
        list(included(source, None, set()))
    return _policy(sources, problems, raw)


Gathered = tuple[list[Source], list[Problem], dict[str, bytes]]


def _gathered(path: Path) -> Gathered:
    """Read and parse what is in a folder, or the file, and everything that it includes."""
    waiting = deque(files(path))
    known = {file.resolve() for file in waiting}
    sources, problems, texts = _parsed([])
    while waiting:
        file = waiting.popleft()
        try:
            texts[str(file)] = read(file)
            source = parse(texts[str(file)], str(file))
            sources.append(source)
            waiting.extend(included(source, path, known))
        except PolicyError as error:
            problems += error.problems
    return sources, problems, texts


def _parsed(parts: Iterable[tuple[str, bytes]]) -> Gathered:
    sources: list[Source] = []
    problems: list[Problem] = []
    texts = dict(parts)
    for name, raw in texts.items():
        try:
            sources.append(parse(raw, name))
        except PolicyError as error:
            problems += error.problems
    return sources, problems, texts


def _policy(sources: list[Source], problems: list[Problem], _texts: Mapping[str, bytes]) -> Policy:
    whole = not problems  # what an unreadable file would have said is not missing elsewhere
    documents = [validate(_DOCUMENT, source, keys_at) for source in sources]
    problems += chain.from_iterable(source.problems for source in sources)
    if whole:
        problems += references.problems(sources)
    if problems:
        raise PolicyError(*_sorted(problems))
    return _compiled(_merged([document for document in documents if document is not None]))


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(set(problems))[:MAX_PROBLEMS]


def _merged(documents: list[Document]) -> Document:
    return Document(
        policy=next(d.policy for d in documents if d.policy),
        tiers=next(d.tiers for d in documents if d.tiers),
        resources={name: resource for d in documents for name, resource in d.resources.items()},
        windows={name: window for d in documents for name, window in d.windows.items()},
        networks={name: networks for d in documents for name, networks in d.networks.items()},
        tags={name: devices for d in documents for name, devices in d.tags.items()},
        access=[grant for d in documents for grant in d.access],
        deny=[deny for d in documents for deny in d.deny],
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
        deny=tuple(document.deny),
        windows=document.windows,
        networks=document.networks,
        tags=document.tags,
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
