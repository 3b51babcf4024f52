"""Several providers at one gateway: chosen by button or e-mail domain, and never taken for each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from gateway.errors import SettingsError
from gateway.identity import providers as providers_file
from gateway.identity.providers import Provider as Listed
from gateway.identity.providers import Providers
from gateway.web.deployment import ProviderCheck
from tests.sim.gateway import Device, World
from tests.sim.provider import LoginDesk, Provider

PARTNERS = "https://partners.example"


class Two:
    """A gateway with the company's provider and one of partners, and a browser."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.staff, self.partners = Provider(), Provider(issuer=PARTNERS)
        listed = Providers(
            (
                Listed(LoginDesk(self.staff, name="staff").party, "Company account", frozenset({"example.com"})),
                Listed(
                    LoginDesk(self.partners, name="partners", groups_prefix="partner:").party,
                    "Partners <&>",
                    frozenset({"partners.example", "other.example"}),
                    administrators=False,
                ),
            )
        )
        world.deployment = replace(world.deployment, providers=listed, provider_check=ProviderCheck(listed))
        world.browser = world.new_browser()

    def at(self, name: str) -> Provider:
        return self.staff if name == "staff" else self.partners

    def leave(self, path: str, **query: str) -> str:
        sent = self.world.browser.get(path, params=query)
        assert sent.status_code == 303, sent.text
        return str(sent.headers["location"])

    def back(self, name: str, query: dict[str, str]) -> httpx2.Response:
        return self.world.browser.get(f"/callback/{name}", params=query)


@pytest.fixture
def two(world: World) -> Two:
    return Two(world)


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_without_a_choice_there_is_a_page_with_a_button_for_each_provider(two: Two) -> None:
    answer = two.world.browser.get("/login/admin")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for part in ('value="staff"', "Company account", 'value="partners"', "Partners &lt;&amp;&gt;", 'name="email"'):
        assert part in answer.text
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("query", "issuer", "hint"),
    [
        ({"provider": "staff"}, "https://login.example", None),
        ({"provider": "partners"}, PARTNERS, None),
        ({"email": "alice@example.com"}, "https://login.example", "alice@example.com"),
        ({"email": "Bob@Partners.EXAMPLE"}, PARTNERS, "Bob@Partners.EXAMPLE"),
        ({"email": "example.com@other.example"}, PARTNERS, "example.com@other.example"),
    ],
)
def test_a_button_or_the_domain_of_an_address_leads_to_its_provider(
    two: Two, query: dict[str, str], issuer: str, hint: str | None
) -> None:
    url = two.leave("/login/admin", **query)
    assert url.startswith(f"{issuer}/authorize?")
    assert parse_qs(urlsplit(url).query).get("login_hint", [None]) == [hint]


@pytest.mark.parametrize(
    "email", ["alice@evil-example.com", "alice@sub.example.com", "alice", "a@example.com.evil.example"]
)
def test_an_address_of_no_provider_is_asked_again(two: Two, email: str) -> None:
    answer = two.world.browser.get("/login/admin", params={"email": email})
    assert (answer.status_code, "No provider is known" in answer.text) == (200, True)


def test_a_provider_that_is_not_there_is_refused(two: Two) -> None:
    refused(two.world.browser.get("/login/admin", params={"provider": "evil"}), 400, "provider-unknown")
    refused(two.world.browser.get("/callback/evil"), 401, "login-not-begun")
    refused(two.world.browser.post("/backchannel-logout/evil", data={"logout_token": "x"}), 400, "provider-unknown")
    refused(two.world.browser.post("/backchannel-logout", data={"logout_token": "x"}), 400, "provider-unknown")


@pytest.mark.parametrize("name", ["staff", "partners"])
def test_a_device_is_enrolled_at_either_and_logged_out_by_its_own_alone(two: Two, name: str) -> None:
    device = Device(two.world)
    enrolment = device.ask_enrolment().json()["enrolment"]
    query = two.at(name).authorize(two.leave(f"/login/{enrolment}", provider=name))
    code = parse_qs(urlsplit(two.back(name, query).headers["location"]).query)["code"][0]
    assert device.confirm(enrolment, code).status_code == 200
    device.connect()
    other = "partners" if name == "staff" else "staff"
    token = two.at(name).logout(sub="sub-alice").sign()
    refused(
        two.world.browser.post(f"/backchannel-logout/{other}", data={"logout_token": token}),
        400,
        "logout-token-issuer",
    )
    assert device.reach is not None
    assert two.world.browser.post(f"/backchannel-logout/{name}", data={"logout_token": token}).status_code == 200
    assert device.reach is None


@pytest.mark.parametrize("says_iss", [True, False])
@pytest.mark.parametrize(("began", "answered"), [("staff", "partners"), ("partners", "staff")])
def test_the_answer_of_one_provider_is_never_taken_for_the_others(
    two: Two, began: str, answered: str, says_iss: bool
) -> None:
    """Mix-up (RFC 9700 4.4), with and without RFC 9207's `iss`."""
    two.staff.metadata["authorization_response_iss_parameter_supported"] = says_iss or None
    two.partners.metadata["authorization_response_iss_parameter_supported"] = says_iss or None
    url = two.leave("/login/admin", provider=began)
    state = parse_qs(urlsplit(url).query)["state"][0]
    honest = two.at(began).authorize(url, "carol")
    foreign = {**two.at(answered).authorize(url, "carol"), "state": state}
    for answer in (foreign, honest):
        query = answer if says_iss else {name: value for name, value in answer.items() if name != "iss"}
        refused(two.back(answered, query), 401, "login-state")
    asked = len(two.at(answered).requests)
    if says_iss:
        refused(two.back(began, foreign), 401, "login-issuer")
    assert len(two.at(answered).requests) == asked, "no code went to the other provider"


def test_groups_of_partners_are_never_ours_and_partners_manage_nothing(two: Two) -> None:
    query = two.partners.authorize(two.leave("/login/admin", provider="partners"), "carol")
    refused(two.back("partners", query), 403, "not-an-administrator")
    device = Device(two.world)
    enrolment = device.ask_enrolment().json()["enrolment"]
    query = two.partners.authorize(two.leave(f"/login/{enrolment}", provider="partners"))
    code = parse_qs(urlsplit(two.back("partners", query).headers["location"]).query)["code"][0]
    assert device.confirm(enrolment, code).json()["groups"] == ["partner:finance", "partner:staff"]


def test_the_same_subject_at_two_providers_is_two_people(two: Two) -> None:
    device = Device(two.world)
    for name, outcome in (("staff", 303), ("partners", 409)):
        enrolment = device.ask_enrolment().json()["enrolment"]
        query = two.at(name).authorize(two.leave(f"/login/{enrolment}", provider=name))
        answer = two.back(name, query)
        assert answer.status_code == outcome
        if outcome == 303:
            device.confirm(enrolment, parse_qs(urlsplit(answer.headers["location"]).query)["code"][0])


def test_a_portal_begins_the_login_of_its_own_provider(two: Two) -> None:
    assert two.leave("/login/initiate", iss=PARTNERS).startswith(PARTNERS)
    refused(two.world.browser.get("/login/initiate", params={"iss": f"{PARTNERS}/"}), 400, "login-issuer")


def test_one_provider_that_is_down_makes_nobody_wait_but_its_own_users(two: Two) -> None:
    two.partners.answers = dict.fromkeys(("/.well-known/openid-configuration",), lambda _: httpx2.Response(500))
    assert two.world.deployment.provider_check.reached()
    refused(two.world.browser.get("/login/admin", params={"provider": "partners"}), 502, "provider-unavailable")
    assert two.leave("/login/admin", provider="staff")


FILE = """
[[provider]]
name = "staff"
label = "Company account"
issuer = "https://login.example.com"
client_secret_file = "{secret}"
domains = ["example.com"]
administrators = true

[[provider]]
name = "partners"
label = "Partners"
issuer = "https://partners.example/realm"
client_id = "vpn"
groups_claim = "realm_access.roles"
groups_prefix = "partner:"
profile = "fapi2"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s3cret\n")
    path = tmp_path / "providers.toml"
    path.write_text(FILE.format(secret=tmp_path / "secret"))
    return path


def test_the_file_of_providers_says_what_each_is(file: Path) -> None:
    staff, partners = providers_file.read(file)
    assert (staff.client_id, staff.client_secret, staff.domains, staff.administrators) == (
        "sallyport",
        "s3cret",
        ("example.com",),
        True,
    )
    assert (partners.client_id, partners.client_secret, partners.profile) == ("vpn", None, "fapi2")
    assert (partners.groups_claim, partners.groups_prefix) == ("realm_access.roles", "partner:")
    assert not partners.administrators, "nobody manages who is not said to"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "staff"', 'name = "Staff"', "provider 1: name = 'Staff': must be small letters"),
        ('name = "staff"', 'name = "../x"', "provider 1: name"),
        ('name = "partners"', 'name = "staff"', "the name staff is there twice"),
        ('label = "Partners"', "", "provider 2: needs the key label"),
        ('label = "Partners"', "label = 7", "provider 2: label = 7: must be a text"),
        ("https://partners.example/realm", "http://partners.example", "provider 2: issuer"),
        ("https://partners.example/realm", "https://login.example.com", "the issuer https://login.example.com is there twice"),
        ('["example.com"]', '["Example.com"]', "provider 1: domains"),
        ('["example.com"]', '"example.com"', "provider 1: domains"),
        ('profile = "fapi2"', 'profile = "fapi"', "provider 2: profile = 'fapi': must be oidc or fapi2"),
        ("administrators = true", 'administrators = "yes"', "provider 1: administrators = 'yes': must be true or false"),
        ("administrators = true", "admin = true", "provider 1: admin is not a key; allowed are administrators, client_id"),
        ("client_secret_file", "client_secret", "provider 1: client_secret is not a key"),
        ("secret\"", "nowhere\"", "No such file"),
        ("[[provider]]", "[provider]", ""),
        ("[[provider]]", "x = 1\n[[provider]]", "and nothing else"),
        ('"staff"', '"staff', ""),
    ],
)  # fmt: skip
def test_a_file_that_does_not_hold_is_refused_at_its_place(file: Path, old: str, new: str, problem: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(SettingsError) as refused:
        providers_file.read(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert problem in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"provider = []", b"x" * 300_000, b"a = " + b"[" * 100_000])
def test_a_file_of_rubbish_is_one_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=str(file)):
        providers_file.read(file)
