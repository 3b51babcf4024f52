"""Which directory a machine belongs to."""

from __future__ import annotations

import pytest

from agent.collect.linux.domain import (
    Membership,
    parse_entra,
    parse_realm,
    parse_samba,
    parse_sssd,
)
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import recorded

HOSTILE = ["\0", "{}", "x" * (10 << 20), "[sssd\ndomains=x", "a=b", "Domäne: keine"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("realm-ad.txt", Membership("active-directory", "corp.example.com")),
        ("realm-ipa.txt", Membership("freeipa", "ipa.example.com")),
    ],
)
def test_realmd_names_the_directory(name: str, expected: Membership) -> None:
    assert parse_realm(recorded(f"domain/{name}")) == expected


def test_a_realm_that_was_only_discovered_is_none() -> None:
    assert parse_realm("") is None
    assert parse_realm(recorded("domain/realm-ad.txt").replace("kerberos-member", "no")) is None


@pytest.mark.parametrize("text", ["corp.example.com\n", *HOSTILE], ids=lambda text: ascii(text[:20]))
def test_another_answer_of_realmd_is_none(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_realm(text)


SSSD = """[sssd]
domains = corp.example.com
config_file_version = 2
services = nss, pam

[domain/corp.example.com]
id_provider = ad
ad_domain = CORP.example.com
  krb5_realm = CORP.EXAMPLE.COM
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SSSD, Membership("active-directory", "CORP.example.com")),
        (SSSD.replace("id_provider = ad", "id_provider = ipa"), Membership("freeipa", "corp.example.com")),
        (SSSD.replace("id_provider = ad", "id_provider = ldap"), Membership("ldap", "corp.example.com")),
        (SSSD.replace("id_provider = ad", "id_provider = proxy"), None),
        (SSSD.replace("domains = corp.example.com", "domains ="), None),
        ("", None),
    ],
)
def test_sssd_serves_the_first_directory_that_it_is_told(text: str, expected: Membership | None) -> None:
    assert parse_sssd(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[global]\n  security = ADS\n  realm = CORP.EXAMPLE.COM\n  workgroup = CORP\n",
            Membership("active-directory", "CORP.EXAMPLE.COM"),
        ),
        ("[global]\n security = user\n", None),
        ("[global]\n security = ads\n", None),
        ("; nothing\n", None),
    ],
)
def test_a_member_server_of_samba_has_a_realm(text: str, expected: Membership | None) -> None:
    assert parse_samba(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[global]\ndomains = example.com,example.org\n", Membership("entra", "example.com")),
        (
            "[oidc]\nissuer = https://login.microsoftonline.com/8d1f-tenant/v2.0\nclient_id = x\n",
            Membership("entra", "8d1f-tenant"),
        ),
        ("[oidc]\nissuer = https://idp.example.com\n", None),
        ("[global]\n", None),
    ],
)
def test_the_brokers_of_entra_name_their_tenant(text: str, expected: Membership | None) -> None:
    assert parse_entra(text) == expected


@pytest.mark.parametrize("text", [h for h in HOSTILE if h != "\0"], ids=lambda text: ascii(text[:20]))
def test_settings_that_cannot_be_read_are_not_no_directory(text: str) -> None:
    for parse in (parse_sssd, parse_samba, parse_entra):
        with pytest.raises(Unreadable):
            parse(text)
