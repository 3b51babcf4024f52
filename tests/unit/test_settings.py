"""Settings: a wrong value is an error that names it and says what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.settings import Settings

WRONG = {
    "PUBLIC_URL": ["gateway", "ftp://x", "http://gateway.example.com", "https://x/path", "https://x?q=1", "https://"],
    "LISTEN": ["8443", ":8443", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:٨"],
    "TLS_CERTIFICATE": ["relative.pem", "/nowhere/tls.crt"],
    "STATE_DIR": ["relative"],
    "DATABASE_URL": ["mysql://x", "sqlite://", "/var/lib/db"],
    "POLICY_DIR": ["/nowhere/policies"],
    "POLICY_SIGNERS": ["/nowhere/signers"],
    "BREAKER_SHARE": ["101", "-1", "20%", "x"],
    "BREAKER_FLOOR": ["-1", "x", "1e3"],
    "BREAKER_WINDOW": ["10", "0m", "10d", "m", "99999m"],
    "HISTORY_DAYS": ["0", "3651", "-1", "x", "1.5", "٨"],
    "OIDC_ISSUER": ["login.example.com", "http://login.example.com", "https://login.example.com?x=1", "https://x#f"],
    "OIDC_CLIENT_ID": [" "],
    "OIDC_GROUPS_CLAIM": [" "],
    "DNS_SERVER": ["dns.example.com:53", "10.20.0.53", "10.20.0.53:0"],
    "COUNTRIES_FILE": ["countries.mmdb", "/nonexistent/countries.mmdb"],
    "ADMIN_GROUP": [" "],
    "OPERATOR_GROUP": [" "],
    "AUDITOR_GROUP": [" "],
    "ADMIN_TIER": [" "],
    "APPROVE_GROUPS": [",", "a,,b", " "],
    "TPM_ROOTS": ["relative.pem", "/nowhere/roots.pem"],
    "TPM_PCRS": ["24", "-1", "x", "0,,1", "7,7", "٨"],
    "DEVICES_PER_USER": ["0", "1001", "-1", "x", "1.5", "٨"],
    "TUNNEL_INTERFACE": ["a-name-that-is-too-long", "a/b", "a b", "..", "a:b"],
    "TUNNEL_ENDPOINT": ["gateway.example.com", "gateway.example.com:0", "2001:db8::1"],
    "TUNNEL_ADDRESSES": ["100.96.0.1/16", "10.0.0.0/8,10.1.0.0/16", "100.96.0.0/30", "x", ","],
    "TUNNEL_MTU": ["1279", "65440", "-1", "x", "1420.0"],
    "TUNNEL_INSTANCES": ["0", "65", "-1", "x", "1.5", "٨"],
    "TUNNEL_DNS": ["dns.example.com", "10.20.0.53:53", ",", "10.20.0.0/24", "fe80::1%eth0", ",".join(["10.0.0.1"] * 9)],
    "TUNNEL_DOMAINS": ["-x", "a b", "a..b", "é.example", "a" * 300],
    "TRANSFORMS": ["rust", "Python"],
    "SSF_ISSUER": ["http://events.example", "events.example"],
    "SSF_DELIVERY": ["Push", "both"],
    "FLEET_URL": ["http://fleet.example", "fleet.example", "https://fleet.example/api"],
    "FLEET_MAX_AGE_HOURS": ["0", "721", "1.5", "x", "٣"],
    "UPDATE_SERVERS": ["10.20.9.5/28", "updates.example", ","],
    "OIDC_PROFILE": ["FAPI2", "fapi"],
    "PROVIDERS_FILE": ["providers.toml", "/nowhere/providers.toml"],
    "DEVELOPMENT_PROVIDER": ["0.0.0.0:9400", "192.0.2.1:9400", "example.com:9400"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_its_name_with_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({f"SALLYPORT_{name}": value})
    text = str(refused.value)
    assert text.startswith(f"SALLYPORT_{name}={value!r}: ")
    assert len(text) > len(f"SALLYPORT_{name}={value!r}: ") + 10
    assert "\n" not in text


def test_every_setting_with_a_rule_is_in_the_table_above() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"SALLYPORT_TYPO": "x"})
    text = str(refused.value)
    assert text.startswith("SALLYPORT_TYPO is not a setting; known are ")
    known = {name.removeprefix("SALLYPORT_") for name in text.split("known are ")[1].split(", ")}
    assert known - set(WRONG) == {"TLS_KEY", "OIDC_CLIENT_SECRET", "SSF_TOKEN", "FLEET_TOKEN"}


def test_an_empty_value_is_the_same_as_none() -> None:
    assert Settings.from_environment({"SALLYPORT_TUNNEL_MTU": ""}) == Settings.from_environment({})


def test_the_agents_variables_are_not_the_gateways(tmp_path: Path) -> None:
    assert Settings.from_environment({"SALLYPORT_AGENT_STATE_DIR": "x"}) == Settings.from_environment({})


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    file = tmp_path / "tls.crt"
    file.touch()
    with pytest.raises(SettingsError, match="SALLYPORT_TLS_CERTIFICATE and SALLYPORT_TLS_KEY belong together"):
        Settings.from_environment({"SALLYPORT_TLS_CERTIFICATE": str(file)})


@pytest.mark.parametrize(
    ("value", "meant"), [("[2001:db8::1]:51820", ("2001:db8::1", 51820)), ("gw.example.com:1", ("gw.example.com", 1))]
)
def test_an_endpoint_may_be_a_name_or_an_address_of_either_family(value: str, meant: tuple[str, int]) -> None:
    assert Settings.from_environment({"SALLYPORT_TUNNEL_ENDPOINT": value}).tunnel_endpoint == meant
