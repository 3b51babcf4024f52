"""Logging in by a code from another machine, and again in a live session: the real agent, gateway and provider."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.programs import Program
from tests.e2e.idp.running import install
from tests.e2e.test_login import URL, WITHIN, Machine, Person

POLICY = Path(__file__).parents[2] / "policies/demo"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose policy lets people log in by a code."""
    install()
    folder = tmp_path_factory.mktemp("again")
    policy = folder / "policy"
    shutil.copytree(POLICY, policy)
    written = (policy / "demo.yaml").read_text()
    assert "reauthenticate: 12h}" in written
    (policy / "demo.yaml").write_text(
        written.replace("reauthenticate: 12h}", "reauthenticate: 12h, device_code: true}")
    )
    with contextlib.ExitStack() as stack:
        machine = Machine(stack, folder)
        machine.provider.start()
        machine.start_gateway(SALLYPORT_POLICY_DIR=str(policy))
        machine.until_ready()
        yield machine


def agent(machine: Machine, laptop: str, *command: str) -> Program:
    return machine._start(
        "agent",
        [sys.executable, "-m", "agent", *command],
        {"SALLYPORT_AGENT_STATE_DIR": str(machine.folder / laptop)},
    )


def consent(machine: Machine, person: Person, code: str, answer: str) -> str:
    """Type the code, log in, and answer the gateway's question. Gives the last page."""
    callback = person.log_in_until_callback(f"{URL}/device?user_code={code}")
    page = person._get(callback)
    assert "Let this device in?" in page.text, page.text
    assert "127.0.0.1" in page.text, "where it asked from"
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)">', page.text))
    with machine.host.entered():
        return person.client.post(f"{URL}/device/consent", data={**fields, "answer": answer}).text


def test_a_machine_without_a_screen_is_enrolled_by_a_code(machine: Machine) -> None:
    enrolling = agent(machine, "headless", "enrol", URL, "--ca", str(machine.authority), "--device-code")
    code = enrolling.wait_for(r"type the code (\S+)", timeout=WITHIN)[1]
    assert "You are logged in" in consent(machine, machine.person("alice"), code, "allow")
    enrolling.wait_for(f"this machine is enrolled at {URL} for alice$", timeout=WITHIN)
    assert machine.begin_session("headless").status_code == 201


def test_who_says_no_lets_nobody_in(machine: Machine) -> None:
    enrolling = agent(machine, "foreign", "enrol", URL, "--ca", str(machine.authority), "--device-code")
    code = enrolling.wait_for(r"type the code (\S+)", timeout=WITHIN)[1]
    assert "not let in" in consent(machine, machine.person("bob"), code, "deny")
    enrolling.wait_for("error: the login was refused or took too long", timeout=WITHIN)
    assert not (machine.folder / "foreign" / "enrolment.json").exists()


def test_a_login_in_a_live_session_is_typed_in_and_extends_it(machine: Machine) -> None:
    machine.enrol("laptop", "alice")
    opened = machine.begin_session("laptop")
    assert opened.status_code == 201, opened.text
    again = agent(machine, "laptop", "login", "--no-browser")
    address = again.wait_for(r"open this address to log in: (\S+)", timeout=WITHIN)[1]
    assert "You are logged in" in machine.person("alice").open(address).text
    again.wait_for("for alice$", timeout=WITHIN)

    rows = machine.administrator().get("/v1/admin/audit")["audit"]
    renewed = [row for row in rows if row["event"] == "session.renewed"]
    assert [row["session"] for row in renewed] == [opened.json()["session"]]
