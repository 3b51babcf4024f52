"""The recorded outputs, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "recorded"


def recorded(name: str) -> str:
    """The text of one file."""
    return (FOLDER / name).read_text()


def names(folder: str) -> set[str]:
    """The files of a folder."""
    return {path.name for path in (FOLDER / folder).iterdir()}
