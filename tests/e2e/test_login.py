"""Logging in end to end: the real gateway, agent and tunnel, a certified provider, and browsers that fill in its pages."""

from __future__ import annotations

import contextlib
import itertools
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
import pytest

from agent import wire
from agent.state import State
from gateway.access.tunnel import SOCKETS
from gateway.demo.browser import MAX_STEPS, Browser, find_form
from gateway.demo.namespaces import Host, owner_mark
from gateway.programs import Program
from gateway.settings import without_settings
from tests.e2e.idp.running import SECRET, ProviderProcess, install

URL = "https://127.0.0.1:8443"
CALLBACK = f"{URL}/callback"
COOKIE = "__Host-sallyport-login"
WITHIN = 30.0
INTERFACES = itertools.count()
"""UAPI sockets lie in one folder for all namespaces of a machine, so no two machines share a name."""


class Person(Browser):
    """Somebody with a browser on a host, who fills in the provider's pages with their name and agrees."""

    def __init__(self, host: Host, authority: Path, name: str) -> None:
        super().__init__(authority)
        self._host = host
        self._name = name

    def open(self, url: str) -> httpx2.Response:
        """Go where the address leads. Gives the last page, whatever its status."""
        page = self._walk(url, lambda _: False)
        assert isinstance(page, httpx2.Response)
        return page

    def log_in_until_callback(self, url: str) -> str:
        """Go as far as the provider's answer. Gives the address that it sends the browser to, not opened yet."""
        address = self._walk(url, lambda target: target.startswith(CALLBACK))
        assert isinstance(address, str), address.text
        return address

    def decline_until_callback(self, url: str) -> str:
        """Leave the provider's page by its cancel link."""
        page = self._walk(url, lambda target: False, fill=False)
        assert isinstance(page, httpx2.Response)
        address = self._walk(f"{str(page.url).rstrip('/')}/abort", lambda target: target.startswith(CALLBACK))
        assert isinstance(address, str), address.text
        return address

    def log_out(self, provider: str) -> None:
        """End the session at the provider, as its page asks."""
        page = self._get(f"{provider}/session/end")
        form = find_form(page.text)
        assert form is not None, page.text
        with self._host.entered():
            answer = self.client.post(urljoin(str(page.url), form.action), data={**form.hidden, "logout": "yes"})
        assert answer.status_code == 303, answer.text

    def get(self, path: str) -> Any:
        """Read JSON from the gateway."""
        return self._get(f"{URL}{path}").json()

    def _walk(self, url: str, stop: Callable[[str], bool], *, fill: bool = True) -> httpx2.Response | str:
        response = self._get(url)
        for _ in range(MAX_STEPS):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if stop(target):
                    return target
                response = self._get(target)
            elif fill and response.status_code == 200 and (form := find_form(response.text)) is not None:
                answers = {"login": self._name, "password": "any"} if "login" in form.choices else {}
                address = urljoin(str(response.url), form.action)
                with self._host.entered():
                    response = self.client.post(address, data={**form.hidden, **answers})
            else:
                return response
        raise AssertionError(f"no end to the redirects that began at {url}")

    def _get(self, url: str) -> httpx2.Response:
        with self._host.entered():
            return super()._get(url)


class Machine:
    """One host with a provider, a tunnel and a gateway, and laptops and people on it."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, *, profile: str = "oidc") -> None:
        self._stack = stack
        self.folder = folder
        self.authority = folder / "gateway" / "ca.crt"
        self.host = Host.create("login", mark=f"{owner_mark()}-{folder.name}")
        stack.callback(self.host.remove)
        self.provider = ProviderProcess(self.host, folder, URL, self.authority, profile=profile)
        self._profile = profile
        stack.callback(self.provider.stop)

    def start_gateway(self, **more: str) -> None:
        """Start tunnel and gateway with these settings more; the gateway listens, but may not be ready."""
        interface = f"sp{os.getpid()}i{next(INTERFACES)}"
        self._stack.callback((SOCKETS / f"{interface}.sock").unlink, missing_ok=True)
        settings = {
            "SALLYPORT_STATE_DIR": str(self.folder / "gateway"),
            "SALLYPORT_OIDC_ISSUER": self.provider.issuer,
            "SALLYPORT_OIDC_CLIENT_SECRET": SECRET,
            "SALLYPORT_OIDC_PROFILE": self._profile,
            "SALLYPORT_TUNNEL_INTERFACE": interface,
            **more,
        }
        tunnel = self._start("tunnel", [sys.executable, "-m", "gateway", "tunnel"], settings)
        gateway = self._start("gateway", [sys.executable, "-m", "gateway", "serve", "--development"], settings)
        tunnel.wait_for("tunnel ready", timeout=WITHIN)
        gateway.wait_for("listening on", timeout=WITHIN)

    def until_ready(self) -> None:
        """Wait until sessions can be opened."""
        deadline = time.monotonic() + WITHIN
        while (answer := self.ready()).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)

    def ready(self) -> httpx2.Response:
        trust = ssl.create_default_context(cafile=str(self.authority))
        with self.host.entered():
            return httpx2.get(f"{URL}/readyz", verify=trust, trust_env=False, timeout=15.0)

    def person(self, name: str) -> Person:
        person = Person(self.host, self.authority, name)
        self._stack.callback(person.close)
        return person

    @contextlib.contextmanager
    def enrolling(self, laptop: str) -> Iterator[tuple[Program, str]]:
        """The agent while it waits for a login: the process, and the address that it asks a person to open."""
        command = ["enrol", URL, "--ca", str(self.authority), "--no-browser", "--name", laptop]
        state = {"SALLYPORT_AGENT_STATE_DIR": str(self.folder / laptop)}
        agent = self._start("agent", [sys.executable, "-m", "agent", *command], state)
        try:
            yield agent, agent.wait_for(r"open this address to log in: (\S+)", timeout=WITHIN)[1]
        finally:
            agent.end()

    def enrol(self, laptop: str, user: str) -> httpx2.Response:
        """Enrol a laptop from beginning to end. Gives the last page of the browser."""
        with self.enrolling(laptop) as (agent, address):
            page = self.person(user).open(address)
            agent.wait_for(f"this machine is enrolled at {URL} for {user}$", timeout=WITHIN)
        return page

    def command(self, laptop: str, *arguments: str) -> Program:
        """Run a command of the agent on an enrolled laptop."""
        state = {"SALLYPORT_AGENT_STATE_DIR": str(self.folder / laptop)}
        return self._start("agent", [sys.executable, "-m", "agent", *arguments], state)

    def begin_session(self, laptop: str) -> httpx2.Response:
        """Ask for a session by the key of an enrolled laptop."""
        state = State(self.folder / laptop)
        body = state.key().sign(wire.TYP_SESSION, {"nonce": state.nonce()}, now=time.time())
        trust = ssl.create_default_context(cafile=str(self.authority))
        with self.host.entered():
            return httpx2.post(
                f"{URL}/v1/sessions", content=body, headers={"content-type": wire.JOSE}, verify=trust, trust_env=False
            )

    def administrator(self) -> Person:
        carol = self.person("carol")
        assert carol.open(f"{URL}/login/admin").status_code == 200
        return carol

    def _start(self, name: str, command: list[str], settings: dict[str, str]) -> Program:
        program = Program(
            name,
            command,
            environment={**settings, "PYTHONUNBUFFERED": "1"},
            inherited=without_settings(),
            within=self.host.command(),
        )
        self._stack.callback(program.end)
        return program


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which everything runs."""
    install()
    with contextlib.ExitStack() as stack:
        machine = Machine(stack, tmp_path_factory.mktemp("whole"))
        machine.provider.start()
        machine.start_gateway()
        machine.until_ready()
        yield machine


@pytest.fixture
def lonely_machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose gateway runs and whose provider does not."""
    install()
    folder = tmp_path / "lonely"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        machine = Machine(stack, folder)
        machine.start_gateway()
        yield machine


def refused(page: httpx2.Response, status: int, code: str) -> str:
    """A problem document with this status and code. Gives what a person reads."""
    assert page.headers["content-type"] == "application/problem+json", page.text
    problem = page.json()
    assert (page.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    return str(problem["detail"])


def admitted(page: httpx2.Response, user: str) -> None:
    """The page that an administrator sees after the login."""
    assert (page.status_code, page.json()["user"]) == (200, user), page.text


def changed(address: str, **members: str) -> str:
    """The address with other members in its query."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return parts._replace(query=urlencode({**query, **members})).geturl()


def test_a_laptop_is_enrolled_by_a_login_at_the_provider(machine: Machine) -> None:
    page = machine.enrol("laptop-of-alice", "alice")
    assert "You are logged in" in page.text
    assert (page.url.host, page.url.path) == ("127.0.0.1", "/")
    kept = (machine.folder / "laptop-of-alice" / "enrolment.json").read_text()
    assert '"user": "alice"' in kept

    carol = machine.administrator()
    devices = {device["name"]: device for device in carol.get("/v1/admin/devices")["devices"]}
    enrolled = devices["laptop-of-alice"]
    assert (enrolled["issuer"], enrolled["subject"]) == (machine.provider.issuer, "alice")
    login = next(
        row
        for row in carol.get("/v1/admin/audit")["audit"]
        if row["event"] == "device.logged-in" and row["device"] == enrolled["id"]
    )
    assert login["details"]["groups"] == ["finance", "staff"]


def test_a_laptop_stays_its_users_when_somebody_else_logs_in_on_it(machine: Machine) -> None:
    machine.enrol("laptop-of-bob", "bob")
    with machine.enrolling("laptop-of-bob") as (agent, address):
        refused(machine.person("alice").open(address), 409, "device-of-another-user")
        assert agent.exit_status() is None  # it still waits for its own user
        assert "You are logged in" in machine.person("bob").open(address).text
        agent.wait_for("for bob$", timeout=WITHIN)


def test_carol_is_an_administrator_and_alice_is_not(machine: Machine) -> None:
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    alice = machine.person("alice")
    assert "manages" in refused(alice.open(f"{URL}/login/admin"), 403, "not-an-administrator")
    refused(alice.open(f"{URL}/v1/admin/me"), 401, "administrator-login-required")


def test_whoever_logs_out_at_the_provider_is_logged_out_here(machine: Machine) -> None:
    alice = machine.person("alice")
    with machine.enrolling("laptop-that-is-handed-back") as (agent, address):
        alice.open(address)
        agent.wait_for("for alice$", timeout=WITHIN)
    opened = machine.begin_session("laptop-that-is-handed-back")
    assert opened.status_code == 201, opened.text
    carol, leaving = machine.administrator(), machine.administrator()

    alice.log_out(machine.provider.issuer)
    machine.provider.wait_for("^logged out at sallyport$")
    sessions = {session["session"]: session for session in carol.get("/v1/admin/sessions")["sessions"]}
    assert sessions[opened.json()["session"]]["end_reason"] == "logged-out"
    refused(machine.begin_session("laptop-that-is-handed-back"), 401, "login-required")

    leaving.log_out(machine.provider.issuer)
    refused(leaving.open(f"{URL}/v1/admin/me"), 401, "administrator-login-required")
    assert carol.get("/v1/admin/me")["user"] == "carol", "the same user in another browser"
    voided = [row["details"]["user"] for row in carol.get("/v1/admin/audit")["audit"] if row["event"] == "login.voided"]
    assert voided == ["alice", "carol"]


def test_a_laptop_that_logs_out_is_told_where_to_log_out_too(machine: Machine) -> None:
    machine.enrol("laptop-for-a-day", "alice")
    assert machine.begin_session("laptop-for-a-day").status_code == 201
    agent = machine.command("laptop-for-a-day", "logout")
    there = agent.wait_for(r"log out at the provider too, open (\S+)", timeout=WITHIN)[1]
    assert there.startswith(f"{machine.provider.issuer}/session/end?")
    refused(machine.begin_session("laptop-for-a-day"), 401, "login-required")


def test_groups_that_the_provider_says_at_its_userinfo_endpoint_alone_are_found(machine: Machine) -> None:
    before = machine.provider.asked("/me")
    machine.provider.move_groups()
    try:
        admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
        refused(machine.person("alice").open(f"{URL}/login/admin"), 403, "not-an-administrator")
    finally:
        machine.provider.move_groups()
    assert machine.provider.asked("/me") == before + 2


def test_a_rotated_key_costs_one_refresh_and_no_login(machine: Machine) -> None:
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    before = machine.provider.asked("/jwks")
    machine.provider.rotate()
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    admitted(machine.person("carol").open(f"{URL}/login/admin"), "carol")
    assert machine.provider.asked("/jwks") == before + 1


def test_a_callback_works_once(machine: Machine) -> None:
    carol = machine.person("carol")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    kept = carol.client.cookies[COOKIE]
    admitted(carol.open(address), "carol")

    refused(carol.open(address), 401, "login-not-begun")
    carol.client.cookies.set(COOKIE, kept, domain="127.0.0.1", path="/")
    assert "used up" in refused(carol.open(address), 401, "login-code")
    admitted(carol.open(f"{URL}/login/admin"), "carol")


def test_a_callback_is_for_the_browser_that_began(machine: Machine) -> None:
    """Login CSRF: whoever opens somebody else's answer is not logged in as them, and nobody loses their own login."""
    carol, alice, nobody = machine.person("carol"), machine.person("alice"), machine.person("bob")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    own = alice.log_in_until_callback(f"{URL}/login/admin")

    refused(nobody.open(address), 401, "login-not-begun")
    assert "another login" in refused(alice.open(address), 401, "login-state")
    refused(alice.open(own), 403, "not-an-administrator")
    admitted(carol.open(address), "carol")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "another"}, "login-state"),
        ({"state": ""}, "login-state"),
        ({"iss": "https://evil.example"}, "login-issuer"),
        ({"code": "invented"}, "login-code"),
    ],
)
def test_an_answer_that_was_changed_on_the_way_is_refused(machine: Machine, change: dict[str, str], code: str) -> None:
    carol = machine.person("carol")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    refused(carol.open(changed(address, **change)), 401, code)
    admitted(carol.open(f"{URL}/login/admin"), "carol")


def test_an_answer_to_another_login_does_not_use_the_own_one_up(machine: Machine) -> None:
    carol = machine.person("carol")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    refused(carol.open(f"{CALLBACK}?state=another&code=x"), 401, "login-state")
    admitted(carol.open(address), "carol")


def test_a_cookie_that_was_tampered_with_is_no_login(machine: Machine) -> None:
    carol = machine.person("carol")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    sealed = carol.client.cookies[COOKIE]
    carol.client.cookies.set(COOKIE, sealed[:-1] + ("A" if sealed[-1] != "A" else "B"), domain="127.0.0.1", path="/")
    assert "did not begin" in refused(carol.open(address), 401, "login-state")
    admitted(carol.open(f"{URL}/login/admin"), "carol")


def test_a_login_that_the_person_declines_is_refused_and_can_begin_anew(machine: Machine) -> None:
    with machine.enrolling("laptop-of-a-hesitant-person") as (agent, address):
        alice = machine.person("alice")
        declined = alice.decline_until_callback(address)
        assert "error=access_denied" in declined
        assert "access_denied" in refused(alice.open(declined), 401, "login-denied")
        refused(alice.open(declined), 401, "login-not-begun")  # the answer has used the state up

        assert agent.exit_status() is None
        assert "You are logged in" in alice.open(address).text
        agent.wait_for("for alice$", timeout=WITHIN)


def test_a_provider_that_goes_down_during_a_login_is_named_and_comes_back(machine: Machine) -> None:
    carol = machine.person("carol")
    address = carol.log_in_until_callback(f"{URL}/login/admin")
    machine.provider.stop()
    try:
        detail = refused(carol.open(address), 502, "provider-unavailable")
        assert f"{machine.provider.issuer}/token" in detail
        assert machine.ready().status_code == 200  # who is in stays in: the provider is for new logins alone
    finally:
        machine.provider.start()
    admitted(carol.open(f"{URL}/login/admin"), "carol")


def test_a_gateway_that_never_reached_its_provider_says_so_and_is_not_ready(lonely_machine: Machine) -> None:
    detail = refused(lonely_machine.person("carol").open(f"{URL}/login/admin"), 502, "provider-unavailable")
    assert f"{lonely_machine.provider.issuer}/.well-known/openid-configuration" in detail
    answer = lonely_machine.ready()
    assert (answer.status_code, answer.json()["checks"]["provider"]) == (503, False)

    with lonely_machine.enrolling("laptop") as (agent, address):
        refused(lonely_machine.person("alice").open(address), 502, "provider-unavailable")
        assert agent.exit_status() is None
