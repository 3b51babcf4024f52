"""What the folders mean: unit, property and vectors run without a network; interop and e2e need root and real parts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
BUILT = importlib.util.find_spec("gateway.native._transforms") is not None
"""Whether the native transforms are there: `make test` builds them where cargo is installed."""

collect_ignore = [] if BUILT else ["property/test_transforms.py"]


def pytest_report_header() -> str:
    return f"native transforms: {'built' if BUILT else 'not built, their tests are left out'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in ("interop", "e2e"):
            item.add_marker(pytest.mark.root)
