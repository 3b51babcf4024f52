"""What the firewall does with a packet that nobody asked for: the effective default of input, for IPv4 and IPv6.

Not whether a service is active or a front end says so: ufw, firewalld and plain rules all end as rules in the kernel, and
these are read. Conditional rules open or close something; what is left over meets the first rule without a condition, or
else the chain's policy. Where the text leaves a doubt, the answer is `accept`: a rule closes only when every part of it is
understood, and opens unless a part of it is a condition.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agent.collect.reading import Unreadable, command, file, stated
from agent.wire import Fact

FACTS: Final = ("firewall.product", "firewall.enabled", "firewall.input_policy")
LEGACY_TABLES: Final = {"ipv4": "/proc/net/ip_tables_names", "ipv6": "/proc/net/ip6_tables_names"}
LEGACY_COMMANDS: Final = {"ipv4": "iptables-legacy", "ipv6": "ip6tables-legacy"}
IPV6: Final = Path("/proc/sys/net/ipv6/conf")
"""A folder for each interface; the kernel asks the interface's own switch, not that of `all`."""
FAMILIES: Final = {"ip": ("ipv4",), "ip6": ("ipv6",), "inet": ("ipv4", "ipv6")}
DEEPEST: Final = 16
"""Jumps into jumps that the kernel allows (NFT_JUMP_STACK_SIZE)."""

CONDITIONS: Final = {"match", "limit", "quota", "ct count", "meter", "vmap"}
NO_CONDITIONS: Final = {"counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "last"}
VERDICTS: Final = {"accept", "drop", "reject", "queue", "return", "jump", "goto"}
LEGACY_VERDICTS: Final = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "REJECT": "reject",
    "RETURN": "return",
    "QUEUE": "queue",
    "NFQUEUE": "queue",
}
LEGACY_GO_ON: Final = {"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "AUDIT", "SET", "TRACE"}
LONGEST_RULE: Final = 4096
ALIVE: Final = {"owner", "persist"}
"""Flags of a table whose rules are in force; a dormant one only looks like a firewall."""

Chain = tuple[str, str, str]
Rules = Mapping[Chain, list[list[dict[str, Any]]]]


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
    chains = [entry["chain"] for entry in entries if "chain" in entry]
    rules: dict[Chain, list[list[dict[str, Any]]]] = {}
    for entry in entries:
        if "rule" in entry:
            rules.setdefault(_key(entry["rule"], "chain"), []).append(_statements(entry["rule"]))
    dead = {_key(entry["table"], "name")[:2] for entry in entries if "table" in entry and not _alive(entry["table"])}
    policies = {"ipv4": "accept", "ipv6": "accept"}
    for chain in chains:
        key = _key(chain, "name")
        if chain.get("hook") != "input" or chain.get("type") != "filter" or (key[0], chain.get("table")) in dead:
            continue
        for version in FAMILIES.get(key[0], ()):
            if (
                _default(key, rules, version, ()) or chain.get("policy")
            ) == "drop":  # every chain at the hook must accept
                policies[version] = "drop"
    return _product(chains), policies


def _entries(text: str) -> list[dict[str, dict[str, Any]]]:
    try:
        members = json.loads(text)["nftables"]
        sound = all(isinstance(value, dict) for member in members for value in member.values())
        told = any("metainfo" in member for member in members)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = told = False
    if not sound or not told:
        raise Unreadable("nft gave no ruleset in JSON")
    return list(members)


def _key(thing: Mapping[str, Any], name: str) -> Chain:
    """What names a chain: of a chain `name`, of a rule `chain`. A table has two parts of it."""
    named = thing.get("family"), thing.get("table", thing.get("name")), thing.get(name)
    if not all(isinstance(part, str) for part in named):
        raise Unreadable("nft gave a ruleset with something that has no name")
    return str(named[0]), str(named[1]), str(named[2])


def _alive(table: Mapping[str, Any]) -> bool:
    flags = table.get("flags", [])
    named = flags if isinstance(flags, list) else [flags]
    return all(isinstance(flag, str) and flag in ALIVE for flag in named)


def _statements(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    expressions = rule.get("expr")
    if not isinstance(expressions, list) or not all(isinstance(e, dict) and len(e) == 1 for e in expressions):
        raise Unreadable("nft gave a rule that cannot be read")
    return expressions


def _default(chain: Chain, rules: Rules, version: str, above: Sequence[Chain]) -> str | None:
    """What the chain does with a packet that meets no condition; None when it comes out at the end."""
    if len(above) >= DEEPEST:
        return "accept"  # the kernel refuses this; a text that has it is no ruleset
    leaves = False
    for statements in rules.get(chain, []):
        conditional = [_conditional(statement, version) for statement in statements]
        name, value = _verdict(statements)
        if False in conditional:
            continue  # never met by this version of IP
        certain = "yes" not in conditional and "maybe" not in conditional
        if name == "return" and not certain:
            leaves = True  # some packets come out here, maybe ours: what closes after this line does not close for them
        if name is None or "yes" in conditional:
            continue
        there = _reached(name, value, chain, rules, version=version, above=above)
        if there == "accept":
            return "accept"
        if not certain:
            leaves |= name == "goto"
        elif there == "drop":
            return None if leaves else "drop"
        elif name in ("return", "goto"):
            return None
    return None


def _reached(name: str, value: Any, chain: Chain, rules: Rules, *, version: str, above: Sequence[Chain]) -> str | None:
    """What becomes of a packet in the rule that it met: `accept`, `drop`, or None when it comes back."""
    if name not in ("jump", "goto"):
        return name if name in ("accept", "drop") else None
    target = value.get("target") if isinstance(value, dict) else None
    return _default((chain[0], chain[1], str(target)), rules, version, (*above, chain))


def _verdict(statements: Sequence[Mapping[str, Any]]) -> tuple[str | None, Any]:
    """What a rule does with the packets that it is for: at its end, as nft writes it."""
    name, value = next(iter(statements[-1].items())) if statements else (None, None)
    target = value.get("name") if name == "xt" and isinstance(value, dict) and value.get("type") == "target" else None
    if name == "reject" or target == "REJECT":
        return "drop", None
    if name == "queue" or target == "NFQUEUE":
        return "accept", None  # a program decides, about which nothing is known here
    return (name, value) if name in VERDICTS else (None, None)


def _conditional(statement: Mapping[str, Any], version: str) -> str | bool:
    """Whether a part of a rule is a condition: `yes`, `no`, `maybe`; False for one that this version never meets."""
    name, value = next(iter(statement.items()))
    if name == "xt" and isinstance(value, dict):
        return "yes" if value.get("type") == "match" and value.get("name") != "comment" else "no"
    if name == "match" and isinstance(value, dict):
        return _match(value, version)
    if name in CONDITIONS:
        return "yes"
    return "no" if name in NO_CONDITIONS | VERDICTS else "maybe"


def _match(match: Mapping[str, Any], version: str) -> str | bool:
    left, right = match.get("left"), match.get("right")
    if left == {"meta": {"key": "nfproto"}} and match.get("op") == "==" and right in ("ipv4", "ipv6"):
        return "no" if right == version else False
    if left == {"ct": {"key": "state"}}:
        states = right.get("set") if isinstance(right, dict) else right
        named = isinstance(states, str | list) and "new" in states
        return "maybe" if named == (match.get("op") != "!=") else "yes"  # a packet that nobody asked for is a new one
    return "yes"


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
    rules: dict[Chain, list[list[dict[str, Any]]]] = {}
    for line in text.splitlines():
        try:
            words = shlex.split(line) if len(line) <= LONGEST_RULE else []
        except ValueError:
            words = []
        if len(words) == 3 and words[:2] == ["-P", "INPUT"]:
            policy = "drop" if words[2] == "DROP" else "accept"
        elif len(words) > 2 and words[0] == "-A":
            rules.setdefault(("ip", "filter", words[1]), []).append(_legacy_statements(words[2:]))
        elif words[:1] not in (["-P"], ["-N"]):
            raise Unreadable("iptables -S gave a line that is no rule")
    if policy is None:
        raise Unreadable("iptables -S named no policy of INPUT")
    return _default(("ip", "filter", "INPUT"), rules, "", ()) or policy


def _legacy_statements(words: Sequence[str]) -> list[dict[str, Any]]:
    """A rule in the words of iptables(8), said as nft says it."""
    ends = [place for place, word in enumerate(words) if word in ("-j", "-g")]
    place = ends[0] if ends else len(words)
    target = words[place + 1] if place + 1 < len(words) else None
    statements = [_legacy_condition(words[:place])] if place else []
    if target in LEGACY_VERDICTS:
        return [*statements, {LEGACY_VERDICTS[target]: None}]
    if target is None or target in LEGACY_GO_ON:
        return [*statements, {"log": None}]
    return [*statements, {"goto" if words[place] == "-g" else "jump": {"target": target}}]


def _legacy_condition(words: Sequence[str]) -> dict[str, Any]:
    if words[:3] == ["-m", "comment", "--comment"] and len(words) == 4:
        return {"counter": None}
    states = [words[place + 1].split(",") for place, word in enumerate(words[:-1]) if word in ("--ctstate", "--state")]
    if len(words) == 4 and "!" not in words and any("NEW" in each for each in states):
        return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new"]}}
    return {"match": None}


def _has_legacy_filter(version: str) -> bool:
    try:
        return "filter" in file(LEGACY_TABLES[version]).split()
    except Unreadable:
        return False


def _without_ipv6() -> bool:
    if not IPV6.exists():
        return True  # the kernel has no IPv6 at all
    switches = [path / "disable_ipv6" for path in IPV6.iterdir() if path.name not in ("default", "lo")]
    return all(file(switch).strip() == "1" for switch in switches)
