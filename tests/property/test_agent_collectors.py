"""Any text at all: a parser ends in Unreadable or in an answer that is no better than silence."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.collect.linux.antivirus import parse_version
from agent.collect.linux.disk import chain, encrypted, parse_findmnt, parse_lsblk, parse_swaps, parse_zfs, parse_zpool
from agent.collect.linux.firewall import parse_iptables, parse_nft
from agent.collect.linux.packages.apt import parse_apt
from agent.collect.linux.packages.dnf import parse_dnf_check_update, parse_dnf_updateinfo
from agent.collect.linux.system import parse_os_release, version
from agent.collect.reading import Unreadable
from agent.tunnel import parse_dump

WORDS = st.sampled_from(
    [
        "-P",
        "-A",
        "INPUT",
        "-j",
        "-m",
        "Inst",
        "(1",
        "[1]",
        "ClamAV",
        "Filename",
        "Type",
        "0 upgraded,",
        "security",
        "\n",
        "\t",
        '"',
    ]
)
TEXTS = st.text() | st.lists(WORDS | st.text(max_size=8)).map(" ".join)
NAMES = st.sampled_from(
    ["nftables", "chain", "rule", "expr", "blockdevices", "children", "filesystems", "source", "type"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["crypt", "drop", "input"]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(max_size=4), inner),
)


@given(text=TEXTS | TREES.map(json.dumps))
def test_no_text_makes_a_parser_fail_or_say_that_all_is_well(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert parse_nft(text)[1] == {"ipv4": "accept", "ipv6": "accept"}
    with contextlib.suppress(Unreadable):
        assert parse_iptables(text) == "accept"
    with contextlib.suppress(Unreadable):
        assert not encrypted(parse_lsblk(text))
    with contextlib.suppress(Unreadable):
        assert not parse_zfs(text)
    with contextlib.suppress(Unreadable):
        assert parse_swaps(text) != []
    with contextlib.suppress(Unreadable):
        assert parse_apt(text)[0] > 0
    with contextlib.suppress(Unreadable):
        assert parse_dnf_check_update(text) > 0 or not text.strip()
    with contextlib.suppress(Unreadable):
        assert parse_version(text)[1] is None
    with contextlib.suppress(Unreadable):
        assert parse_findmnt(text)[0] == ""
    with contextlib.suppress(Unreadable):
        parse_dnf_updateinfo(text)
    assert all(path.startswith("/") for path in parse_zpool(text))
    version(parse_os_release(text), None)
    parse_dump(text)


EXPRESSIONS = st.sampled_from(
    [
        {"accept": None},
        {"drop": None},
        {"reject": {}},
        {"return": None},
        {"counter": None},
        {"unheard of": 1},
        {"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "lo"}},
        {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new"]}},
        {"jump": {"target": "a"}},
        {"goto": {"target": "b"}},
    ]
)
RULES = st.lists(st.lists(EXPRESSIONS, min_size=1, max_size=3), max_size=4)


def ruleset(chains: dict[str, list[list[dict[str, Any]]]]) -> str:
    base = {"family": "inet", "table": "f", "type": "filter", "hook": "input", "policy": "drop"}
    members: list[dict[str, Any]] = [{"metainfo": {}}, {"chain": {**base, "name": "input"}}]
    for name, rules in chains.items():
        members += [{"rule": {"family": "inet", "table": "f", "chain": name, "expr": rule}} for rule in rules]
    return json.dumps({"nftables": members})


@given(before=RULES, rules=RULES, a=RULES, b=RULES)
def test_a_rule_that_accepts_everything_is_never_hidden_by_the_policy_alone(
    before: list[Any], rules: list[Any], a: list[Any], b: list[Any]
) -> None:
    """Whatever rules stand there: one more rule at the very front that accepts everything opens the firewall."""
    text = ruleset({"input": [[{"accept": None}], *before, *rules], "a": a, "b": b})
    assert parse_nft(text)[1] == {"ipv4": "accept", "ipv6": "accept"}


NODES = st.recursive(
    st.sampled_from(["disk", "part", "loop", "crypt"]).map(lambda kind: {"name": "x", "type": kind}),
    lambda inner: st.builds(
        lambda kind, below: {"name": "x", "type": kind, "children": below},
        st.sampled_from(["crypt", "lvm", "raid1", "part", "loop"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def ways(node: dict[str, Any]) -> list[list[str]]:
    """Every way from a device down to what has nothing below it, as types."""
    below = node.get("children", [])
    return [[node["type"], *way] for child in below for way in ways(child)] or [[node["type"]]]


@settings(max_examples=300)
@given(node=NODES)
def test_encrypted_means_on_every_way_down_dm_crypt_over_something_and_no_loop(node: dict[str, Any]) -> None:
    tree = parse_lsblk(json.dumps({"blockdevices": [node]}))
    sound = all("crypt" in way[:-1] and "loop" not in way for way in ways(node))
    assert encrypted(tree) == sound
    assert chain(tree).count(" disk") == sum(way.count("disk") for way in ways(node))
