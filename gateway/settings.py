"""Settings: everything that the environment may say, read once. The only reader of `os.environ`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from gateway.errors import SettingsError
from gateway.instances import Instance, instances

Network = IPv4Network | IPv6Network
T = TypeVar("T")

AGENT = "SALLYPORT_AGENT_"
"""What begins like this is the agent's; a machine may run both."""
_DOMAIN = re.compile(r"\.|(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*", re.ASCII)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose. Defaults are those of `sallyport up` on one machine."""

    public_url: str
    listen: tuple[str, int]
    tls_certificate: Path | None
    tls_key: Path | None
    state_dir: Path
    database_url: str
    policy_dir: Path | None
    policy_signers: Path | None
    breaker_share: int
    breaker_floor: int
    breaker_window: timedelta
    history_days: int
    dns_server: tuple[str, int] | None
    countries_file: Path | None
    oidc_issuer: str | None
    oidc_client_id: str
    oidc_client_secret: str | None
    oidc_groups_claim: str
    oidc_profile: str
    providers_file: Path | None
    ssf_issuer: str | None
    ssf_token: str | None
    ssf_delivery: str
    fleet_url: str | None
    fleet_token: str | None
    fleet_max_age_hours: int
    update_servers: tuple[Network, ...]
    tunnel_interface: str
    tunnel_endpoint: tuple[str, int]
    tunnel_addresses: tuple[Network, ...]
    tunnel_mtu: int
    tunnel_instances: tuple[Instance, ...]
    tunnel_dns: tuple[str, ...]
    tunnel_domains: tuple[str, ...]
    admin_group: str
    operator_group: str | None
    auditor_group: str | None
    admin_tier: str | None
    approve_groups: tuple[str, ...]
    devices_per_user: int
    tpm_roots: Path | None
    tpm_pcrs: tuple[int, ...]
    transforms: str | None
    development_provider: tuple[str, int]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read SALLYPORT_* once. Raises SettingsError that names the setting and what it may be."""
        read = _Reader(os.environ if environment is None else environment)
        state_dir = read("STATE_DIR", "/var/lib/sallyport", _absolute_path)
        interface = read("TUNNEL_INTERFACE", "sallyport0", _interface_name)
        endpoint = read("TUNNEL_ENDPOINT", "127.0.0.1:51820", _host_port)
        addresses = read("TUNNEL_ADDRESSES", "100.96.0.0/16,fd53:616c:6c79::/64", _networks)
        settings = cls(
            public_url=read("PUBLIC_URL", "https://127.0.0.1:8443", _origin),
            listen=read("LISTEN", "127.0.0.1:8443", _host_port),
            tls_certificate=read.optional("TLS_CERTIFICATE", _existing_file),
            tls_key=read.optional("TLS_KEY", _existing_file),
            state_dir=state_dir,
            database_url=read("DATABASE_URL", f"sqlite:///{state_dir}/sallyport.db", _database_url),
            policy_dir=read.optional("POLICY_DIR", _existing_dir),
            policy_signers=read.optional("POLICY_SIGNERS", _existing_file),
            breaker_share=read("BREAKER_SHARE", "20", _share),
            breaker_floor=read("BREAKER_FLOOR", "10", _floor),
            breaker_window=read("BREAKER_WINDOW", "10m", _window),
            history_days=read("HISTORY_DAYS", "90", _days),
            dns_server=read.optional("DNS_SERVER", _address_port),
            countries_file=read.optional("COUNTRIES_FILE", _existing_file),
            oidc_issuer=read.optional("OIDC_ISSUER", issuer_url),
            oidc_client_id=read("OIDC_CLIENT_ID", "sallyport", _text),
            oidc_client_secret=read.optional("OIDC_CLIENT_SECRET", _text),
            oidc_groups_claim=read("OIDC_GROUPS_CLAIM", "groups", _text),
            oidc_profile=read("OIDC_PROFILE", "oidc", _profile),
            providers_file=read.optional("PROVIDERS_FILE", _existing_file),
            ssf_issuer=read.optional("SSF_ISSUER", issuer_url),
            ssf_token=read.optional("SSF_TOKEN", _text),
            ssf_delivery=read("SSF_DELIVERY", "push", _delivery),
            fleet_url=read.optional("FLEET_URL", _origin),
            fleet_token=read.optional("FLEET_TOKEN", _text),
            fleet_max_age_hours=read("FLEET_MAX_AGE_HOURS", "24", _hours),
            update_servers=read.optional("UPDATE_SERVERS", _server_networks) or (),
            tunnel_interface=interface,
            tunnel_endpoint=endpoint,
            tunnel_addresses=addresses,
            tunnel_mtu=read("TUNNEL_MTU", "1420", _mtu),
            tunnel_instances=read(
                "TUNNEL_INSTANCES", "1", lambda text: _instances(text, interface, endpoint, addresses)
            ),
            tunnel_dns=read.optional("TUNNEL_DNS", _servers) or (),
            tunnel_domains=read.optional("TUNNEL_DOMAINS", _domains) or (),
            admin_group=read("ADMIN_GROUP", "sallyport-admins", _text),
            operator_group=read.optional("OPERATOR_GROUP", _text),
            auditor_group=read.optional("AUDITOR_GROUP", _text),
            admin_tier=read.optional("ADMIN_TIER", _text),
            approve_groups=read("APPROVE_GROUPS", "everyone", _groups),
            devices_per_user=read("DEVICES_PER_USER", "10", _devices),
            tpm_roots=read.optional("TPM_ROOTS", _existing_file),
            tpm_pcrs=read("TPM_PCRS", "0,1,2,3,4,7", _pcrs),
            transforms=read.optional("TRANSFORMS", _transforms),
            development_provider=read("DEVELOPMENT_PROVIDER", "127.0.0.1:9400", _loopback_port),
        )
        read.refuse_unknown()
        if (settings.tls_certificate is None) != (settings.tls_key is None):
            raise SettingsError("SALLYPORT_TLS_CERTIFICATE and SALLYPORT_TLS_KEY belong together: set both or none")
        if (settings.fleet_url is None) != (settings.fleet_token is None):
            raise SettingsError("SALLYPORT_FLEET_URL and SALLYPORT_FLEET_TOKEN belong together: set both or none")
        if settings.providers_file is not None and settings.oidc_issuer is not None:
            raise SettingsError(
                "SALLYPORT_PROVIDERS_FILE and SALLYPORT_OIDC_ISSUER exclude each other: set one of them"
            )
        if bool(settings.tunnel_dns) != bool(settings.tunnel_domains):
            raise SettingsError("SALLYPORT_TUNNEL_DNS and SALLYPORT_TUNNEL_DOMAINS belong together: set both or none")
        if (settings.ssf_issuer is None) != (settings.ssf_token is None):
            raise SettingsError("SALLYPORT_SSF_ISSUER and SALLYPORT_SSF_TOKEN belong together: set both or none")
        return settings


def without_settings() -> dict[str, str]:
    """The environment for programs that must not hear of this one's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SALLYPORT_")}


class _Reader:
    """Reads one setting after the other and remembers which names exist."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: set[str] = set()

    def __call__(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        full = f"SALLYPORT_{name}"
        self._known.add(full)
        text = self._environment.get(full, "") or default
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsError(f"{full}={text!r}: {error}") from None

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        full = f"SALLYPORT_{name}"
        self._known.add(full)
        return self(name, "", parse) if self._environment.get(full) else None

    def refuse_unknown(self) -> None:
        named = (n for n in self._environment if n.startswith("SALLYPORT_") and not n.startswith(AGENT))
        unknown = sorted(n for n in named if n not in self._known)
        if unknown:
            raise SettingsError(f"{unknown[0]} is not a setting; known are {', '.join(sorted(self._known))}")


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _groups(text: str) -> tuple[str, ...]:
    groups = tuple(group.strip() for group in text.split(","))
    if not all(groups):
        raise ValueError("must be names of groups, separated by commas; everyone, or nobody")
    return () if groups == ("nobody",) else groups


def _devices(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError("must be a number of devices from 1 to 1000")
    return int(text)


def _pcrs(text: str) -> tuple[int, ...]:
    numbers = [part.strip() for part in text.split(",")]
    if not all(n.isascii() and n.isdecimal() and int(n) < 24 for n in numbers) or len(set(numbers)) != len(numbers):
        raise ValueError("must be numbers of PCRs from 0 to 23, separated by commas, each once")
    return tuple(sorted(int(number) for number in numbers))


def _absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _existing_file(text: str) -> Path:
    path = _absolute_path(text)
    if not path.is_file():
        raise ValueError("must be an existing file")
    return path


def _existing_dir(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise ValueError("must be an existing folder")
    return path


def _origin(text: str) -> str:
    url = urlsplit(text)
    if (
        url.scheme not in ("https", "http")
        or not url.hostname
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        raise ValueError("must be an origin such as https://gateway.example.com, without a path")
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError("must be https, except on a loopback address")
    return text.rstrip("/")


def issuer_url(text: str) -> str:
    """Check an issuer. Raises ValueError that says what is allowed."""
    url = urlsplit(text)
    if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
        raise ValueError("must be the provider's issuer URL, letter for letter, for example https://login.example.com")
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError("must be https, except on a loopback address")
    return text


def _hours(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 720:
        raise ValueError("must be a number of hours from 1 to 720")
    return int(text)


def _server_networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("must be networks with commas between, for example 10.20.9.5/32,2001:db8::/64") from None


def _delivery(text: str) -> str:
    if text not in ("push", "poll"):
        raise ValueError("must be push or poll")
    return text


def _profile(text: str) -> str:
    if text not in ("oidc", "fapi2"):
        raise ValueError("must be oidc or fapi2")
    return text


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in host and host != f"[{bare}]") or not _is_port(port):
        raise ValueError(
            "must be host:port with a port from 1 to 65535, for example 203.0.113.1:51820 or [2001:db8::1]:51820"
        )
    return bare, int(port)


def _address_port(text: str) -> tuple[str, int]:
    host, port = _host_port(text)
    try:
        return str(ip_address(host)), port
    except ValueError:
        raise ValueError("must be the address and port of a name server, for example 10.20.0.53:53") from None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


def _loopback_port(text: str) -> tuple[str, int]:
    host, port = _host_port(text)
    if host not in LOOPBACK:
        raise ValueError("must be a loopback address: the development provider lets anybody in")
    return host, port


def _database_url(text: str) -> str:
    if not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
    return text


def _interface_name(text: str) -> str:
    if not 0 < len(text.encode()) < 16 or any(c in "/ \t\n:" for c in text) or text in (".", ".."):
        raise ValueError("must be a network interface name of at most 15 bytes, without space, slash or colon")
    return text


def _networks(text: str) -> tuple[Network, ...]:
    networks = tuple(ip_network(part.strip(), strict=True) for part in text.split(","))
    if len({n.version for n in networks}) != len(networks):
        raise ValueError("must be one IPv4 network, one IPv6 network, or both, separated by a comma")
    if any(n.num_addresses < 8 for n in networks):
        raise ValueError("must be networks with at least 8 addresses")
    return networks


def _share(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 <= int(text) <= 100:
        raise ValueError("must be a percentage from 0 to 100; at 100 nothing is ever held")
    return int(text)


def _floor(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ValueError("must be a number of sessions")
    return int(text)


def _window(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,3})([smh])", text, re.ASCII)
    if match is None:
        raise ValueError("must be a whole number with s, m or h, for example 10m")
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]])


def _days(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise ValueError("must be a number of days from 1 to 3650")
    return int(text)


def _mtu(text: str) -> int:
    if not text.isdecimal() or not 1280 <= int(text) <= 65439:
        raise ValueError("must be a number of bytes from 1280 to 65439")
    return int(text)


def _instances(
    text: str, interface: str, endpoint: tuple[str, int], addresses: tuple[Network, ...]
) -> tuple[Instance, ...]:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError("must be a number of tunnel processes from 1 to 64")
    return instances(interface, endpoint[1], addresses, int(text))


def _servers(text: str) -> tuple[str, ...]:
    servers = tuple(str(ip_address(part.strip())) for part in text.split(","))
    if not 0 < len(servers) <= 8 or any("%" in server for server in servers):
        raise ValueError("must be one to eight addresses of name servers behind the tunnel, separated by commas")
    return servers


def _domains(text: str) -> tuple[str, ...]:
    domains = tuple(part.strip().lower().removeprefix("~").rstrip(".") or "." for part in text.split(","))
    if len(domains) > 64 or not all(_DOMAIN.fullmatch(domain) for domain in domains):
        raise ValueError("must be domains such as corp.example.com separated by commas, or a dot for all names")
    return domains


def _transforms(text: str) -> str:
    if text not in ("native", "python"):
        raise ValueError("must be native or python; left out, the best that is built is taken")
    return text
