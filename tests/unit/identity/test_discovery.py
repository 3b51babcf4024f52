"""What a provider says of itself: which of it is believed, for how long, and how often it is asked."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest

from gateway.errors import ProviderError
from gateway.identity.discovery import MAXIMUM_AGE, REFRESH, RETRY, Discovery, Metadata, of_provider
from gateway.identity.http import Egress
from tests.sim.provider import ADDRESS, DISCOVERY, ISSUER, START, LoginDesk, Provider

SECOND = timedelta(seconds=1)


def discovery(provider: Provider, issuer: str = ISSUER) -> Discovery[Metadata]:
    return of_provider(issuer, Egress(False, resolve=lambda _host, _port: [ADDRESS], wire=provider))


def unavailable(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(503)


def test_an_honest_provider_is_believed(provider: Provider) -> None:
    found = discovery(provider).metadata(now=START)
    assert found.issuer == ISSUER
    assert found.authorization_endpoint == f"{ISSUER}/authorize"
    assert found.algorithms == {"RS256"}
    assert found.iss_in_response
    assert found.userinfo_endpoint is None


def test_what_is_not_said_has_the_default_of_the_standard(provider: Provider) -> None:
    for member in (
        "id_token_signing_alg_values_supported",
        "token_endpoint_auth_methods_supported",
        "scopes_supported",
        "authorization_response_iss_parameter_supported",
    ):
        provider.metadata[member] = None
    found = discovery(provider).metadata(now=START)
    assert found.algorithms == {"RS256"}
    assert found.token_auth_methods == {"client_secret_basic"}
    assert found.scopes == {"openid"}
    assert not found.iss_in_response


@pytest.mark.parametrize(
    "issuer",
    [f"{ISSUER}/", ISSUER.upper(), ISSUER[:-1], f"{ISSUER}.evil.example", "", None, [ISSUER], {"a": 1}, 7, True],
)
def test_a_provider_with_another_name_is_not_the_configured_one(provider: Provider, issuer: object) -> None:
    provider.metadata["issuer"] = issuer
    with pytest.raises(ProviderError, match="letter for letter"):
        discovery(provider).metadata(now=START)


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        [],
        "",
        "/keys",
        "keys",
        "//login.example/keys",
        "http://login.example/keys",
        "http://127.0.0.1/keys",
        "https:///keys",
        "https://login.example/keys#part",
        "https://user@login.example/keys",
        "https://user:secret@login.example/keys",
        "https://login.example:port/keys",
        "https://login.example:99999/keys",
        "https://[::1/keys",
        "file:///etc/passwd",
        "data:application/json,{}",
        "ftp://login.example/keys",
        "gopher://login.example/keys",
        "javascript:alert(1)",
        "https://login.example/" + "k" * 2048,
    ],
)
def test_an_endpoint_that_is_none_is_named(provider: Provider, member: str, url: object) -> None:
    provider.metadata[member] = url
    with pytest.raises(ProviderError, match=member):
        discovery(provider).metadata(now=START)


def test_a_wrong_userinfo_endpoint_is_named_when_there_is_one(provider: Provider) -> None:
    provider.metadata["userinfo_endpoint"] = "http://login.example/me"
    with pytest.raises(ProviderError, match="userinfo_endpoint must be https"):
        discovery(provider).metadata(now=START)


@pytest.mark.parametrize(
    "member",
    ["id_token_signing_alg_values_supported", "scopes_supported", "token_endpoint_auth_methods_supported"],
)
@pytest.mark.parametrize("value", ["RS256", 7, {"RS256": True}, [["RS256"]], ["RS256", 7]])
def test_a_list_that_is_none_is_named(provider: Provider, member: str, value: object) -> None:
    provider.metadata[member] = value
    with pytest.raises(ProviderError, match=f"{member} must be a list of texts"):
        discovery(provider).metadata(now=START)


def test_an_endpoint_may_have_2048_characters(provider: Provider) -> None:
    url = f"{ISSUER}/".ljust(2048, "k")
    provider.metadata["jwks_uri"] = url
    assert discovery(provider).metadata(now=START).jwks_uri == url


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_plain_http_is_for_a_provider_on_this_machine_alone(host: str) -> None:
    issuer = f"http://{host}:9400"
    members: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
    }
    assert Metadata.read(members, issuer).jwks_uri == f"{issuer}/keys"
    for url in ("http://login.example/keys", "ftp://127.0.0.1/keys", "file://localhost/keys"):
        with pytest.raises(ProviderError, match="jwks_uri must be https"):
            Metadata.read({**members, "jwks_uri": url}, issuer)


@pytest.mark.parametrize(
    ("issuer", "path"),
    [
        (ISSUER, DISCOVERY),
        (f"{ISSUER}/", DISCOVERY),
        (f"{ISSUER}/realms/staff", f"/realms/staff{DISCOVERY}"),
        (f"{ISSUER}/tenant/v2.0/", f"/tenant/v2.0{DISCOVERY}"),
    ],
)
def test_an_issuer_may_have_a_path_and_a_slash(issuer: str, path: str) -> None:
    provider = Provider()
    said = Provider(issuer=issuer)
    provider.answers[path] = said._discovery
    assert discovery(provider, issuer).metadata(now=START).issuer == issuer
    assert provider.asked == [path]


def test_metadata_is_asked_for_once_an_hour(provider: Provider) -> None:
    known = discovery(provider)
    for at in (START, START + SECOND, START + REFRESH - SECOND):
        known.metadata(now=at)
    assert provider.asked == [DISCOVERY]
    known.metadata(now=START + REFRESH)
    assert provider.asked == [DISCOVERY] * 2


def test_known_metadata_survives_a_day_without_the_provider_and_no_longer(provider: Provider) -> None:
    known = discovery(provider)
    known.metadata(now=START)
    provider.answers[DISCOVERY] = unavailable
    assert known.metadata(now=START + MAXIMUM_AGE - SECOND).issuer == ISSUER
    with pytest.raises(ProviderError, match="answered 503"):
        known.metadata(now=START + MAXIMUM_AGE)


def test_a_provider_that_changes_its_name_is_not_followed(provider: Provider) -> None:
    known = discovery(provider)
    known.metadata(now=START)
    provider.metadata = {"issuer": "https://evil.example", "token_endpoint": "https://evil.example/token"}
    assert known.metadata(now=START + REFRESH).token_endpoint == f"{ISSUER}/token"
    with pytest.raises(ProviderError, match=r"calls itself 'https://evil\.example'"):
        known.metadata(now=START + MAXIMUM_AGE)


def test_a_provider_that_is_down_is_asked_once_in_ten_seconds(provider: Provider) -> None:
    known = discovery(provider)
    provider.answers[DISCOVERY] = unavailable
    for tenth in (0, *range(100)):
        with pytest.raises(ProviderError, match="answered 503"):
            known.metadata(now=START + tenth * RETRY / 100)
    assert provider.asked == [DISCOVERY]
    del provider.answers[DISCOVERY]
    assert known.metadata(now=START + RETRY).issuer == ISSUER


def test_a_clock_that_goes_back_makes_metadata_old_and_not_young(provider: Provider) -> None:
    known = discovery(provider)
    known.metadata(now=START)
    provider.answers[DISCOVERY] = unavailable
    with pytest.raises(ProviderError):
        known.metadata(now=START - SECOND)


def test_a_failure_from_the_future_does_not_keep_us_from_asking(provider: Provider) -> None:
    known = discovery(provider)
    provider.answers[DISCOVERY] = unavailable
    with pytest.raises(ProviderError):
        known.metadata(now=START)
    del provider.answers[DISCOVERY]
    assert known.metadata(now=START - SECOND).issuer == ISSUER


def test_the_text_of_a_stranger_is_cut_short(provider: Provider) -> None:
    provider.metadata["issuer"] = "x" * 100_000
    with pytest.raises(ProviderError) as refusal:
        discovery(provider).metadata(now=START)
    assert len(str(refusal.value)) < 500


def test_an_endpoint_on_a_private_address_is_never_asked(provider: Provider) -> None:
    """The metadata is believed, the address behind it is not: the way out refuses it."""
    provider.metadata["token_endpoint"] = "https://internal.example/token"
    desk = LoginDesk(provider)
    addresses = {"login.example": ADDRESS, "internal.example": ip_address("10.0.0.5")}
    desk.party._http.transport._resolve = lambda host, _port: [addresses[host]]
    with pytest.raises(ProviderError, match="no provider may have"):
        desk.log_in()
    assert provider.asked == [DISCOVERY]
