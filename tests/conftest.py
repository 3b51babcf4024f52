"""What the folders mean: unit, property and vectors run without a network; interop and e2e need root and real parts."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in ("interop", "e2e"):
            item.add_marker(pytest.mark.root)
