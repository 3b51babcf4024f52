"""What the firewall does with a packet that nobody asked for: the effective default of input, for IPv4 and IPv6.

Not whether a service is active or a front end says so: ufw, firewalld and plain rules all end as rules in the kernel, and
these are read. Conditional rules open or close something; what is left over meets the first rule without a condition, or
else the chain's policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent.collect.reading import Unreadable, command, file, stated
from agent.wire import Fact

FACTS: Final = ("firewall.product", "firewall.enabled", "firewall.input_policy")
LEGACY_TABLES: Final = {"ipv4": "/proc/net/ip_tables_names", "ipv6": "/proc/net/ip6_tables_names"}
LEGACY_COMMANDS: Final = {"ipv4": "iptables-legacy", "ipv6": "ip6tables-legacy"}
NO_IPV6: Final = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
FAMILIES: Final = {"ip": ("ipv4",), "ip6": ("ipv6",), "inet": ("ipv4", "ipv6")}
NOT_A_CONDITION: Final = {"counter", "log", "comment", "limit_log"}
Rules = Mapping[tuple[str, str, str], list[list[dict[str, Any]]]]


def collect(*, now: float) -> dict[str, Fact]:
    """Read the kernel's rules. Raises Unreadable."""
    ruleset = command("nft", "--json", "list", "ruleset")
    product, policies = parse_nft(ruleset)
    for version in LEGACY_TABLES:
        if policies[version] == "accept" and _has_legacy_filter(version):
            policies[version] = parse_iptables(command(LEGACY_COMMANDS[version], "-S"))
            product = product or "iptables"
    needed = ("ipv4",) if _without_ipv6() else ("ipv4", "ipv6")
    effective = "drop" if all(policies[version] == "drop" for version in needed) else "accept"
    return {
        **stated("nft list ruleset", now, firewall__enabled=effective == "drop", firewall__input_policy=effective),
        **stated("nft list ruleset", now, firewall__product=product or "none"),
    }


def parse_nft(text: str) -> tuple[str | None, dict[str, str]]:
    """Read `nft --json list ruleset`: who made the rules, and `drop` or `accept` for ipv4 and ipv6. Raises Unreadable."""
    entries = _entries(text)
    chains = [entry["chain"] for entry in entries if isinstance(entry.get("chain"), dict)]
    rules: dict[tuple[str, str, str], list[list[dict[str, Any]]]] = {}
    for entry in entries:
        rule = entry.get("rule")
        if isinstance(rule, dict):
            rules.setdefault(_chain_key(rule), []).append(_statements(rule))
    policies = {"ipv4": "accept", "ipv6": "accept"}
    for chain in chains:
        if chain.get("hook") != "input" or chain.get("type") != "filter":
            continue
        key = (str(chain.get("family")), str(chain.get("table")), str(chain.get("name")))
        if (_default(key, rules, ()) or chain.get("policy", "accept")) == "drop":  # every chain at the hook must accept
            policies |= dict.fromkeys(FAMILIES.get(key[0], ()), "drop")
    return _product(chains), policies


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        members = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError, RecursionError):
        members = None
    if not isinstance(members, list) or not any("metainfo" in m for m in members if isinstance(m, dict)):
        raise Unreadable("nft gave no ruleset in JSON")
    return [member for member in members if isinstance(member, dict)]


def _chain_key(rule: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(rule.get("family")), str(rule.get("table")), str(rule.get("chain"))


def _statements(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    expressions = rule.get("expr")
    return [e for e in expressions if isinstance(e, dict)] if isinstance(expressions, list) else [{"match": None}]


def _default(chain: tuple[str, str, str], rules: Rules, above: Sequence[tuple[str, str, str]]) -> str | None:
    """What the chain does with a packet that meets no condition; None when it comes out at the end."""
    if chain in above:
        return None  # the kernel refuses loops; a text that has one is no ruleset
    for statements in rules.get(chain, []):
        verdicts = [s for s in statements if not NOT_A_CONDITION & set(s)]
        if len(verdicts) != 1:
            continue  # a condition, or nothing at all
        name, value = next(iter(verdicts[0].items()))
        if name in ("accept", "drop"):
            return name
        if name == "reject":
            return "drop"
        if name == "return":
            return None
        if name in ("jump", "goto") and isinstance(value, dict):
            there = _default((chain[0], chain[1], str(value.get("target"))), rules, (*above, chain))
            if there is not None or name == "goto":
                return there
    return None


def _product(chains: Sequence[Mapping[str, Any]]) -> str | None:
    names = {str(chain.get("name")) for chain in chains}
    if any(name.startswith(("ufw-", "ufw6-")) for name in names):
        return "ufw"
    if any(chain.get("table") == "firewalld" for chain in chains):
        return "firewalld"
    return "nftables" if any(chain.get("hook") == "input" for chain in chains) else None


def parse_iptables(text: str) -> str:
    """Read `iptables -S`: `drop` or `accept`, the effective default of INPUT. Raises Unreadable."""
    policy = None
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["-P", "INPUT"] and len(words) > 2:
            policy = "drop" if words[2] == "DROP" else "accept"
        elif words[:3] == ["-A", "INPUT", "-j"] and len(words) > 3 and words[3] in ("DROP", "REJECT", "ACCEPT"):
            return "accept" if words[3] == "ACCEPT" else "drop"
    if policy is None:
        raise Unreadable("iptables -S named no policy of INPUT")
    return policy


def _has_legacy_filter(version: str) -> bool:
    try:
        return "filter" in file(LEGACY_TABLES[version]).split()
    except Unreadable:
        return False


def _without_ipv6() -> bool:
    try:
        return file(NO_IPV6).strip() == "1"
    except Unreadable:
        return True  # the kernel has no IPv6 at all
