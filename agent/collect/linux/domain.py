"""Which directory the machine belongs to: realmd's word, or else the settings of sssd, winbind and the Entra brokers."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from agent.collect.reading import Unreadable, absent, attempt, command, file, stated, text
from agent.wire import Fact

FACTS: Final = ("domain.joined", "domain.kind", "domain.name")
SSSD: Final = Path("/etc/sssd/sssd.conf")
SAMBA: Final = Path("/etc/samba/smb.conf")
KEYTAB: Final = Path("/etc/krb5.keytab")
"""The machine's own key in the directory: without it, settings are only an intention."""
NAMED: Final = {"active-directory": "ad_domain", "freeipa": "ipa_domain"}
"""Where sssd is told a name other than that of its section."""
ENTRA: Final = (Path("/etc/himmelblau/himmelblau.conf"), Path("/etc/authd/brokers.d/msentraid.conf"))
KINDS: Final = {"active-directory": "active-directory", "ipa": "freeipa", "ldap": "ldap", "ad": "active-directory"}


class Membership(NamedTuple):
    """A directory: its kind (KINDS) and its name."""

    kind: str
    name: str


def collect(*, now: float) -> dict[str, Fact]:
    """Ask realmd, then read the settings."""
    for source, look in (("realm list", _realm), (str(SSSD), _sssd), (str(SAMBA), _winbind), (str(ENTRA[0]), _entra)):
        try:
            found = look()
        except Unreadable as error:
            return absent(FACTS, source, now, str(error))
        if found is not None:
            return stated(
                source, now, domain__joined=True, domain__kind=found.kind, domain__name=text(found.name.lower())
            )
    missing = absent(("domain.name",), "realm, sssd.conf, smb.conf", now, "the machine belongs to no directory")
    return {**stated("realm, sssd.conf, smb.conf", now, domain__joined=False, domain__kind="none"), **missing}


def _realm() -> Membership | None:
    said = attempt(lambda: command("realm", "list", timeout=5.0))
    return parse_realm(said) if said else None


def parse_realm(said: str) -> Membership | None:
    """Read `realm list`: the first realm that is configured. Raises Unreadable."""
    fields = dict(re.findall(r"^\s+([a-z-]+): (.+)$", said, re.MULTILINE))
    if not said.strip() or fields.get("configured") == "no":
        return None
    if not {"configured", "domain-name", "server-software"} <= set(fields):
        raise Unreadable("realm list has another form")
    software = str(fields["server-software"])
    return Membership(KINDS.get(software, software), str(fields["domain-name"]))


def _sssd() -> Membership | None:
    if not SSSD.exists():
        return None
    found = parse_sssd(file(SSSD))
    return found if found and (found.kind == "ldap" or KEYTAB.exists()) else None


def parse_sssd(said: str) -> Membership | None:
    """Read sssd.conf(5): the first of its domains that is a directory. Raises Unreadable."""
    settings = _ini(said, "sssd.conf")
    names = [name.strip() for name in settings.get("sssd", {}).get("domains", "").split(",") if name.strip()]
    for name in names:
        domain = settings.get(f"domain/{name}", {})
        kind = KINDS.get(domain.get("id_provider", ""))
        if kind is not None:
            return Membership(kind, domain.get(NAMED.get(kind, ""), name))
    return None


def _winbind() -> Membership | None:
    if not SAMBA.exists() or not KEYTAB.exists():
        return None
    return parse_samba(file(SAMBA))


def parse_samba(said: str) -> Membership | None:
    """Read smb.conf(5): a member of an Active Directory has `security = ads`. Raises Unreadable."""
    settings = _ini(said, "smb.conf").get("global", {})
    if settings.get("security", "").lower() != "ads" or not settings.get("realm"):
        return None
    return Membership("active-directory", settings["realm"])


def _entra() -> Membership | None:
    for path in ENTRA:
        if path.exists() and (found := parse_entra(file(path))):
            return found
    return None


def parse_entra(said: str) -> Membership | None:
    """Read the settings of himmelblau (`domains`) or of authd's broker (`issuer`). Raises Unreadable."""
    settings = _ini(said, "the Entra broker's settings")
    domains = settings.get("global", {}).get("domains", "")
    issuer = re.fullmatch(
        r"https://login\.microsoftonline\.com/([\w.-]+)/v2\.0/?", settings.get("oidc", {}).get("issuer", "")
    )
    name = domains.split(",")[0].strip() or (issuer[1] if issuer else "")
    return Membership("entra", name) if name else None


def _ini(said: str, name: str) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=None)
    try:
        parser.read_string(re.sub(r"^[ \t]+", "", said.replace("\0", ""), flags=re.MULTILINE))
    except configparser.Error:
        raise Unreadable(f"{name} cannot be read") from None
    return {section.lower(): dict(parser[section]) for section in parser.sections()}
