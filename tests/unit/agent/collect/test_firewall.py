"""What the firewall does with a packet that nobody asked for, read from what real front ends put into the kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.collect.linux.firewall import parse_iptables, parse_nft
from agent.collect.reading import Unreadable
from tests.unit.agent.recordings import names, recorded

BOTH, IPV4, NEITHER = ("drop", "drop"), ("drop", "accept"), ("accept", "accept")
RULESETS = {
    "empty.json": (None, NEITHER),
    "demo.json": ("nftables", BOTH),
    "empty-chain-drop.json": ("nftables", BOTH),
    "final-drop.json": ("nftables", BOTH),
    "accept-before-drop.json": ("nftables", NEITHER),
    "jump-and-goto.json": ("nftables", BOTH),
    "jump-to-accept.json": ("nftables", NEITHER),
    "goto-returns-to-policy.json": ("nftables", NEITHER),
    "ipv4-only.json": ("nftables", IPV4),
    "by-protocol.json": ("nftables", BOTH),
    "two-chains.json": ("nftables", BOTH),
    "verdict-map.json": ("nftables", BOTH),
    "named-set.json": ("nftables", BOTH),
    "log-level-and-limit.json": ("nftables", NEITHER),
    "mark-then-drop.json": ("nftables", BOTH),
    "dormant.json": ("nftables", NEITHER),
    "ingress.json": (None, NEITHER),
    "prerouting-drop.json": (None, NEITHER),
    "output-only.json": (None, NEITHER),
    "iptables-nft.json": ("nftables", BOTH),
    "iptables-nft-ipv4-only.json": ("nftables", IPV4),
    "iptables-nft-comment.json": ("nftables", IPV4),
    "ufw-active.json": ("ufw", BOTH),
    "ufw-default-allow.json": ("ufw", NEITHER),
    "ufw-disabled.json": ("ufw", NEITHER),
    "firewalld-public.json": ("firewalld", BOTH),
    "firewalld-drop.json": ("firewalld", BOTH),
    "firewalld-trusted.json": ("firewalld", NEITHER),
}
LEGACY = {
    "iptables-legacy-untouched.txt": "accept",
    "iptables-legacy-drop.txt": "drop",
    "iptables-legacy-final-drop-comment.txt": "drop",
    "iptables-legacy-final-reject.txt": "drop",
    "iptables-of-ufw.txt": "drop",
}


@pytest.mark.parametrize("name", RULESETS)
def test_the_effective_default_of_input_is_what_the_kernel_would_do(name: str) -> None:
    product, (ipv4, ipv6) = RULESETS[name]
    assert parse_nft(recorded(f"firewall/{name}")) == (product, {"ipv4": ipv4, "ipv6": ipv6})


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_rules_are_followed_to_their_end(name: str) -> None:
    assert parse_iptables(recorded(f"firewall/{name}")) == LEGACY[name]


def test_every_recorded_ruleset_is_judged() -> None:
    assert names("firewall") == {*RULESETS, *LEGACY}


# rules that no front end writes, but that a person might


META: dict[str, Any] = {"metainfo": {"version": "1.0.6", "json_schema_version": 1}}
NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
IPV6 = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv6"}}
ACCEPT, DROP, RETURN = {"accept": None}, {"drop": None}, {"return": None}


def jump(target: str) -> dict[str, Any]:
    return {"jump": {"target": target}}


def ruleset(policy: str, *rules: list[dict[str, Any]], flags: Any = None, **chains: list[list[dict[str, Any]]]) -> str:
    table = {"family": "inet", "name": "f", "handle": 1} | ({"flags": flags} if flags is not None else {})
    base = {"family": "inet", "table": "f", "name": "input", "handle": 1}
    members: list[dict[str, Any]] = [META, {"table": table}]
    members += [{"chain": {**base, "type": "filter", "hook": "input", "prio": 0, "policy": policy}}]
    members += [{"chain": {"family": "inet", "table": "f", "name": name, "handle": 2}} for name in chains]
    for name, each in {"input": list(rules), **chains}.items():
        members += [{"rule": {"family": "inet", "table": "f", "chain": name, "handle": 3, "expr": e}} for e in each]
    return json.dumps({"nftables": members})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ruleset("drop", [NEW, ACCEPT]), NEITHER),
        (ruleset("accept", [NEW, DROP]), NEITHER),
        (ruleset("drop", [ESTABLISHED, ACCEPT]), BOTH),
        (ruleset("drop", [{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}, ACCEPT]), NEITHER),
        (ruleset("drop", [{"something new": {}}, ACCEPT]), NEITHER),
        (ruleset("accept", [{"something new": {}}, DROP]), NEITHER),
        (ruleset("drop", [{"something new": {}}, DROP], [ACCEPT]), NEITHER),
        (ruleset("drop", [IPV6, ACCEPT]), IPV4),
        (ruleset("accept", [PORT, RETURN], [DROP]), NEITHER),
        (ruleset("accept", [jump("a")], a=[[PORT, RETURN], [DROP]]), NEITHER),
        (ruleset("drop", [jump("a")], a=[[PORT, RETURN], [ACCEPT]]), NEITHER),
        (ruleset("accept", [jump("a")], [DROP], a=[[RETURN], [ACCEPT]]), BOTH),
        (ruleset("accept", [jump("a")], [DROP], a=[[jump("b")]], b=[[PORT, ACCEPT]]), BOTH),
        (ruleset("drop", [{"queue": {"num": 1}}]), NEITHER),
        (ruleset("drop", [{"xt": {"type": "target", "name": "NFQUEUE"}}]), NEITHER),
        (ruleset("drop", [{"xt": {"type": "match", "name": "comment"}}, ACCEPT]), NEITHER),
        (ruleset("drop", [{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT]), BOTH),
        (ruleset("drop", [{"counter": None}]), BOTH),
        (ruleset("drop", flags="dormant"), NEITHER),
        (ruleset("drop", flags=["owner", "dormant"]), NEITHER),
        (ruleset("drop", flags=["owner", "persist"]), BOTH),
        (ruleset("drop", flags=7), NEITHER),
        (ruleset("drop", flags=[["owner"]]), NEITHER),
        (ruleset("accept", [jump("nowhere")]), NEITHER),
        (ruleset("drop", [jump("input")]), NEITHER),
        (ruleset("something"), NEITHER),
    ],
)
def test_where_a_rule_leaves_a_doubt_the_answer_is_accept(text: str, expected: tuple[str, str]) -> None:
    assert parse_nft(text)[1] == dict(zip(("ipv4", "ipv6"), expected, strict=True))


def test_a_chain_of_jumps_that_the_kernel_would_refuse_closes_nothing() -> None:
    chains = {f"c{number}": [[jump(f"c{number + 1}")]] for number in range(2000)}
    assert parse_nft(ruleset("drop", [jump("c0")], **chains))[1] == {"ipv4": "accept", "ipv6": "accept"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["-P INPUT DROP", "-A INPUT -j ACCEPT"], "accept"),
        (["-P INPUT DROP", '-A INPUT -m comment --comment "all of it -j" -j ACCEPT'], "accept"),
        (["-P INPUT DROP", "-A INPUT -m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT"], "accept"),
        (["-P INPUT DROP", "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT"], "drop"),
        (["-P INPUT DROP", "-A INPUT -m conntrack ! --ctstate NEW -j ACCEPT"], "drop"),
        (["-P INPUT DROP", "-N all", "-A INPUT -j all", "-A all -j ACCEPT"], "accept"),
        (["-P INPUT ACCEPT", "-N none", "-A INPUT -g none", "-A INPUT -j ACCEPT", "-A none -j DROP"], "drop"),
        (
            ["-P INPUT ACCEPT", "-N some", "-A INPUT -j some", "-A some -s 192.0.2.1/32 -j RETURN", "-A some -j DROP"],
            "accept",
        ),
        (["-P INPUT ACCEPT", "-A INPUT -j LOG --log-prefix x", "-A INPUT -j DROP"], "drop"),
        (["-P INPUT DROP", "-A INPUT -j NFQUEUE --queue-num 0"], "accept"),
        (["-P INPUT DROP", "-A INPUT -s 192.0.2.0/24"], "drop"),
    ],
)
def test_a_legacy_rule_closes_only_what_meets_no_condition(rules: list[str], expected: str) -> None:
    assert parse_iptables("\n".join(rules) + "\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "[]",
        "{}",
        "null",
        '{"nftables": {}}',
        '{"nftables": []}',
        '{"nftables": [5]}',
        '{"nftables": [{"rule": {}}]}',
        '{"nftables": [{"metainfo": {}}, {"rule": 5}]}',
        '{"nftables": [{"metainfo": {}}, {"chain": {"family": ["inet"], "table": "f", "name": "input"}}]}',
        ruleset("drop", [{}]),
        ruleset("drop", [{"accept": None, "drop": None}]),
        ruleset("drop", "drop"),  # type: ignore[arg-type]
        "table inet f { chain input { type filter hook input priority 0; policy drop; } }",
        "[" * 100_000,
        '{"nftables": [{"metainfo": ' + '{"a":' * 100_000,
        '{"nftables": [{"metainfo": {"version": ' + "9" * 10_000 + "}}]}",
        "x" * (10 << 20),
        recorded("firewall/demo.json")[:-40],
        recorded("firewall/demo.json") * 2,
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_no_ruleset_is_no_firewall(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_nft(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "-P INPUT",
        "-P FORWARD DROP\n",
        "-P INPUT DROP\niptables: Zugriff verweigert\n",
        '-P INPUT DROP\n-A INPUT -m comment --comment "no end\n',
        "-P INPUT DROP\n" + "-A INPUT " + "x " * 5000,
        "x" * (10 << 20),
        recorded("firewall/demo.json"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_are_no_legacy_rules_is_no_firewall(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_iptables(text)
