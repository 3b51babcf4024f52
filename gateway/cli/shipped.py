"""The policies that come with Sallyport: where they are, and how a company begins with one of its own."""

from __future__ import annotations

import re
from pathlib import Path

import gateway
from gateway.errors import HostError
from gateway.policy.names import NAME

STARTER = "starter"


def policies() -> Path:
    """The folder of the shipped policies: inside the installed package, or beside it."""
    package = Path(gateway.__file__).parent
    installed, cloned = package / "_policies", package.parent / "policies"
    return installed if installed.is_dir() else cloned


def begin(folder: Path) -> list[Path]:
    """Write the starter policy into `folder`, and its fixtures and the schema beside it, where `policy test` and editors look.

    The policy is named after the folder. Returns the files. Raises HostError before anything is written when there is
    something that would be overwritten; a schema that is there already stays as it is.
    """
    whole = folder.resolve()
    if not re.fullmatch(NAME, whole.name):
        raise HostError(f"{whole.name!r} cannot name a policy; name the folder with a-z 0-9 . _ - alone")
    fixtures, schema = whole.parent / "tests" / whole.name, whole.parent / "schema.json"
    for taken in (whole, fixtures):
        _free(taken)
    written = [*_copied(policies() / STARTER, whole), *_copied(policies() / "tests" / STARTER, fixtures)]
    if not schema.exists():
        written += _write(schema, (policies() / "schema.json").read_text(encoding="utf-8"))
    return written


def _free(folder: Path) -> None:
    """Raise HostError unless there is nothing in the folder, or no folder at all."""
    try:
        if (folder.exists() or folder.is_symlink()) and (not folder.is_dir() or any(folder.iterdir())):
            raise HostError(f"{folder} is not empty, and nothing is overwritten; name another folder")
    except OSError as error:
        raise HostError(f"{folder} cannot be looked at: {error.strerror}") from None


def _copied(source: Path, target: Path) -> list[Path]:
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(source.glob("*.yaml"))}
    named = re.compile(rf"^policy: {STARTER}$", re.MULTILINE)
    return [
        file
        for name, text in texts.items()
        for file in _write(target / name, named.sub(f"policy: {target.name}", text))
    ]


def _write(file: Path, text: str) -> list[Path]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise HostError(f"{file} cannot be written: {error.strerror}") from None
    return [file]
