"""Logging in under the FAPI 2.0 Security Profile, at a certified provider that demands all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e.idp.running import install
from tests.e2e.test_login import URL, Machine, admitted, refused


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A provider that knows the gateway by its published key alone, wants requests pushed, and binds every token."""
    install()
    with contextlib.ExitStack() as stack:
        machine = Machine(stack, tmp_path_factory.mktemp("strict"), profile="fapi2")
        machine.provider.start()
        machine.start_gateway()
        machine.until_ready()
        yield machine


def test_a_login_is_pushed_signed_and_bound(machine: Machine) -> None:
    assert "You are logged in" in machine.enrol("laptop-of-alice", "alice").text
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    assert machine.provider.asked("/request") >= 2


def test_groups_are_asked_for_with_a_bound_token(machine: Machine) -> None:
    before = machine.provider.asked("/me")
    machine.provider.move_groups()
    try:
        admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
        refused(machine.person("alice").open(f"{URL}/login/admin"), 403, "not-an-administrator")
    finally:
        machine.provider.move_groups()
    assert machine.provider.asked("/me") >= before + 2


def test_a_rotated_key_of_the_provider_costs_no_login(machine: Machine) -> None:
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    machine.provider.rotate()
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
