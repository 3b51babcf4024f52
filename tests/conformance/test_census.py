"""Every module of every plan is a test under its own name, or is listed with the reason. Neither is missing, none is both."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.conformance.plans import NOT_APPLICABLE, PLANS, SIZES

WRITTEN = Counter(
    node.name
    for path in Path(__file__).parent.glob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef)
)


def written_as(module: str) -> str:
    return f"test_{module.replace('-', '_')}"


def test_every_plan_has_all_of_its_modules() -> None:
    assert {plan: len(set(modules)) for plan, modules in PLANS.items()} == SIZES


def test_every_module_is_one_test_or_is_listed_with_the_reason() -> None:
    modules = {module for plan in PLANS.values() for module in plan}
    counted = {module: WRITTEN[written_as(module)] for module in modules}
    assert {m: n for m, n in counted.items() if m not in NOT_APPLICABLE and n != 1} == {}
    assert {m: n for m, n in counted.items() if m in NOT_APPLICABLE and n != 0} == {}
    assert set(NOT_APPLICABLE) <= modules
    assert all(len(reason) > 40 for reason in NOT_APPLICABLE.values())
