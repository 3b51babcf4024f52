"""Leak protection: what belongs into the tunnel leaves through it or not at all.

Two walls, each sufficient. The routing rule stands before the main table, so neither a more specific route (TunnelVision)
nor a local network that claims the office's addresses (TunnelCrack) takes a packet away from the tunnel, and when the
tunnel is gone `unreachable` is what is left. The table `inet sallyport-agent` refuses what tries to leave elsewhere
whatever the routes say. Both are the kernel's own: they stay when this process is killed.

Only the tunnel's own datagrams and the agent's own connections pass; they carry MARK, which root alone can set. No
address is an exception, so a gateway name that resolves to somebody else's address opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface, ip_network
from typing import Any, Final

from agent import host
from agent.errors import AgentError

MARK: Final = 0x5A11
TABLE: Final = "sallyport-agent"
ROUTES: Final = 23057
"""The number of the routing table: MARK in decimal, so that whoever finds one finds the other."""
PRIORITY: Final = 5200
"""Before the main table (32766) and before what wg-quick and NetworkManager add."""
LAST_RESORT: Final = 4_278_198_272
"""The metric of `unreachable`: any other route of the table is better."""
DEFAULTS: Final = ("0.0.0.0/0", "::/0")
INTERFACE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
"""What nothing that reads it takes for anything else; 15 bytes are the kernel's limit."""
GONE: Final = ("No such file or directory", "No such process", "does not exist", "Cannot find device")


@dataclass(frozen=True, slots=True)
class Protection:
    """What is protected, and the one interface that it may use. `every_name`: DNS belongs into the tunnel too."""

    interface: str
    prefixes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    every_name: bool = False

    def waiting_for_a_person(self) -> Protection:
        """What stays while only a browser can help: it must reach the gateway and the provider."""
        specific = tuple(prefix for prefix in self.prefixes if prefix not in DEFAULTS)
        return Protection(self.interface, specific, self.addresses)

    def to_json(self) -> dict[str, Any]:
        return {
            "interface": self.interface,
            "prefixes": list(self.prefixes),
            "addresses": list(self.addresses),
            "every_name": self.every_name,
        }

    @classmethod
    def from_json(cls, members: Any) -> Protection:
        """Raise ValueError, TypeError or KeyError for what no agent has written."""
        prefixes = tuple(str(ip_network(prefix)) for prefix in members["prefixes"])
        addresses = tuple(str(ip_interface(address)) for address in members["addresses"])
        interface = str(members["interface"])
        if not INTERFACE_NAME.fullmatch(interface):
            raise ValueError("interface")
        return cls(interface, prefixes, addresses, bool(members["every_name"]))


def protected(routes: Iterable[str]) -> tuple[str, ...]:
    """The prefixes that routes stand for. A default route of one family protects the other too: a name has both."""
    networks = [ip_network(route) for route in routes]
    if any(network.prefixlen == 0 for network in networks):
        return DEFAULTS
    four = collapse_addresses(n for n in networks if isinstance(n, IPv4Network))
    six = collapse_addresses(n for n in networks if isinstance(n, IPv6Network))
    return tuple(map(str, [*four, *six]))


def ruleset(protection: Protection) -> str:
    """The table as nft reads it: it replaces the one that is there in a single transaction."""
    own = f'oifname {{ "lo", "{protection.interface}" }} return'
    guard = [own, f"meta mark {MARK:#x} return", *_needed_by_the_link(protection.prefixes)]
    for family, sign in ((4, "ip"), (6, "ip6")):
        if prefixes := [p for p in protection.prefixes if ip_network(p).version == family]:
            guard.append(
                f"{sign} daddr {{ {', '.join(prefixes)} }} counter name leaks reject with icmpx admin-prohibited"
            )
    if protection.every_name:
        guard.append(
            "meta l4proto { tcp, udp } th dport { 53, 853 } counter name leaks reject with icmpx admin-prohibited"
        )
    return "\n".join(
        [
            f"table inet {TABLE} {{ }}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  counter leaks { }",
            "  counter strangers { }",
            "  chain guard {",
            *(f"    {line}" for line in guard),
            "  }",
            "  chain output { type filter hook output priority -10; policy accept; jump guard; }",
            "  chain forward { type filter hook forward priority -10; policy accept; jump guard; }",
            "  chain prerouting {",
            "    type filter hook prerouting priority -310; policy accept;",
            *(f"    {line}" for line in _only_from_the_tunnel(protection)),
            "  }",
            "}",
            "",
        ]
    )


def _needed_by_the_link(prefixes: Iterable[str]) -> list[str]:
    """Behind a default route: without neighbour discovery and DHCP there is no network to carry a tunnel."""
    if not set(prefixes) & set(DEFAULTS):
        return []
    return [
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } return",
        "udp sport { 68, 546 } udp dport { 67, 547 } return",
    ]


def _only_from_the_tunnel(protection: Protection) -> Iterator[str]:
    """CVE-2019-14899: a neighbour that knocks at the tunnel's address from outside learns nothing."""
    for address in protection.addresses:
        sign = "ip" if ip_interface(address).version == 4 else "ip6"
        inside = f'iifname != {{ "lo", "{protection.interface}" }}'
        yield f"{inside} {sign} daddr {ip_interface(address).ip} counter name strangers drop"


def protect(protection: Protection, before: Protection | None = None) -> list[str]:
    """Put up both walls. `before` is what was protected until now. Gives what could not be done; one wall is enough.

    Raises AgentError when neither stands.
    """
    failed = []
    for wall in (lambda: _route(protection, before), lambda: host.run("nft", "-f", "-", text=ruleset(protection))):
        try:
            wall()
        except AgentError as error:
            failed.append(str(error))
    if len(failed) == 2 and protection.prefixes:
        raise AgentError("leak protection cannot be had: " + "; ".join(failed))
    return failed


def release() -> None:
    """Take both walls down. What is gone already is no error."""
    for family in families():
        host.run("ip", family, "rule", "delete", "priority", str(PRIORITY), accept=GONE)
        host.run("ip", family, "route", "flush", "table", str(ROUTES), accept=(*GONE, "does not exist"))
    host.run("nft", "delete", "table", "inet", TABLE, accept=GONE)


def stands() -> bool:
    """Whether the table is there: somebody may have flushed the whole ruleset."""
    try:
        host.run("nft", "list", "chain", "inet", TABLE, "guard")
    except AgentError:
        return False
    return True


def leaks() -> int | None:
    """How many packets were kept from leaking since the table was made; None when it cannot be read."""
    try:
        words = host.run("nft", "list", "counter", "inet", TABLE, "leaks").split()
        return int(words[words.index("packets") + 1])
    except (AgentError, ValueError, IndexError):
        return None


def families() -> tuple[str, ...]:
    """What ip(8) is asked for."""
    return ("-4", "-6") if host.has_ipv6() else ("-4",)


def family(prefix: str) -> str:
    return "-6" if ip_network(prefix, strict=False).version == 6 else "-4"


def _route(protection: Protection, before: Protection | None) -> None:
    """Unreachable, unless the tunnel has a better route. The rule comes last: until then nothing has changed."""
    for prefix in set(before.prefixes if before else ()) - set(protection.prefixes):
        host.run("ip", family(prefix), "route", "delete", *_unreachable(prefix), accept=GONE)
    _batch(protection.prefixes, lambda prefix: ("replace", *_unreachable(prefix)))
    for each in families():
        rule = ("not", "fwmark", hex(MARK), "lookup", str(ROUTES), "priority", str(PRIORITY))
        host.run("ip", each, "rule", "add", *rule, accept=("File exists",))


def through(interface: str, routes: Iterable[str]) -> None:
    """Send routes into the tunnel, in place of those that it had. Raises AgentError."""
    for each in families():
        host.run("ip", each, "route", "flush", "table", str(ROUTES), "dev", interface, accept=GONE)
    _batch(routes, lambda route: ("replace", route, "dev", interface, "table", str(ROUTES), "metric", "100"))


def _unreachable(prefix: str) -> tuple[str, ...]:
    return ("unreachable", prefix, "table", str(ROUTES), "metric", str(LAST_RESORT))


def _batch(prefixes: Iterable[str], words: Callable[[str], tuple[str, ...]]) -> None:
    """One ip(8) for all prefixes of a family."""
    named = list(prefixes)
    for each in families():
        if lines := [f"route {' '.join(words(prefix))}\n" for prefix in named if family(prefix) == each]:
            host.run("ip", each, "-batch", "-", text="".join(lines))
