"""The gateway's answers: every member that is not what it should be is refused, and nothing reaches a terminal or UAPI."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import answers, uapi
from agent.errors import Nonsense

KEY = base64.b64encode(bytes(range(32))).decode()
FINDING = {
    "check": "firewall-on",
    "reason": "the firewall is off",
    "tier": "quarantine",
    "effective": True,
    "since": 1000.0,
    "grace_until": None,
    "fix": "sudo ufw enable",
}
RESOURCE = {"name": "wiki", "destinations": ["10.20.0.10/32"], "ports": ["tcp/443"]}
VERDICT: dict[str, Any] = {
    "session": "abc",
    "tier": "full",
    "findings": [FINDING],
    "resources": [RESOURCE],
    "sequence": 3,
    "lease_ms": 60000,
    "heartbeat_ms": 20000,
    "policy_version": "1",
}
TUNNEL: dict[str, Any] = {
    "public_key": KEY,
    "endpoint": "198.51.100.1:51820",
    "addresses": ["100.96.0.2/32", "fd53::2/128"],
    "routes": ["10.20.0.0/16", "fd00::/8"],
    "mtu": 1420,
    "keepalive": 25,
}
WRONG: list[Any] = [
    None,
    True,
    5,
    -1,
    1.5,
    math.inf,
    math.nan,
    2**60,
    [],
    [5],
    {},
    {"a": "b"},
    [[]],
    [None],
    "x" * 2001,
]
TEXT = [value for value in WRONG if not (isinstance(value, str) and len(value) <= 2000)]


def test_a_proper_verdict_is_read() -> None:
    verdict = answers.verdict(VERDICT)
    assert (verdict.session, verdict.tier, verdict.sequence, verdict.lease_ms) == ("abc", "full", 3, 60000)
    assert verdict.refused[0].fix == "sudo ufw enable"
    assert verdict.resources[0].destinations == ("10.20.0.10/32",)
    assert answers.verdict(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_members_that_a_later_gateway_adds_are_passed_over() -> None:
    assert answers.verdict({**VERDICT, "later": {"a": 1}}) == answers.verdict(VERDICT)


@pytest.mark.parametrize("value", TEXT, ids=repr)
@pytest.mark.parametrize("name", ["session", "tier", "policy_version"])
def test_a_text_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense, match=name):
        answers.verdict({**VERDICT, name: value})


@pytest.mark.parametrize("value", [None, True, -1, 1.5, math.inf, 2**60, "5", [], {}], ids=repr)
@pytest.mark.parametrize("name", ["sequence", "lease_ms", "heartbeat_ms"])
def test_a_number_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense, match=name):
        answers.verdict({**VERDICT, name: value})


def test_a_heartbeat_without_a_pause_is_refused() -> None:
    with pytest.raises(Nonsense, match="heartbeat_ms"):
        answers.verdict({**VERDICT, "heartbeat_ms": 0})


@pytest.mark.parametrize(
    "value", [None, True, 5, "text", {}, [5], [None], [[]], [FINDING | {"check": 5}], [FINDING] * 257]
)
@pytest.mark.parametrize("name", ["findings", "resources"])
def test_a_list_that_is_none_or_too_long_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense):
        answers.verdict({**VERDICT, name: value})


@pytest.mark.parametrize("name", [*VERDICT])
def test_a_verdict_without_one_of_its_members_is_refused(name: str) -> None:
    with pytest.raises(Nonsense, match=name):
        answers.verdict({member: value for member, value in VERDICT.items() if member != name})


@pytest.mark.parametrize("given", [None, [], "verdict", 5, True])
def test_what_is_no_object_is_refused(given: Any) -> None:
    with pytest.raises(Nonsense):
        answers.verdict(given)
    with pytest.raises(Nonsense):
        answers.tunnel(given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("check", "reason", "tier") for value in TEXT],
        *[("fix", value) for value in TEXT if value is not None],
        *[
            (name, value)
            for name in ("since", "grace_until")
            for value in (True, "1", [], -1, math.inf, math.nan, 1e15)
        ],
    ],
    ids=repr,
)
def test_a_finding_with_a_wrong_member_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense, match=name):
        answers.verdict({**VERDICT, "findings": [{**FINDING, name: value}]})


@pytest.mark.parametrize("value", [None, "no", 0, [], {}])
def test_a_finding_counts_unless_it_is_said_not_to(value: Any) -> None:
    assert answers.verdict({**VERDICT, "findings": [{**FINDING, "effective": value}]}).refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("name", value) for value in TEXT],
        *[
            (n, v)
            for n in ("destinations", "ports")
            for v in (None, 5, "text", {}, [5], [None], ["x"] * 257, ["x" * 2001])
        ],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_resource_with_a_wrong_member_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense, match=name):
        answers.verdict({**VERDICT, "resources": [{**RESOURCE, name: value}]})


CONTROLS = "\x1b]0;owned\x07\r\n\0\x9b31m\u202e\u2028\ud800"


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    finding = {**FINDING, "check": CONTROLS, "reason": CONTROLS, "tier": CONTROLS, "fix": CONTROLS}
    resource = {"name": CONTROLS, "destinations": [CONTROLS], "ports": [CONTROLS]}
    given = {**VERDICT, "tier": CONTROLS, "policy_version": CONTROLS, "findings": [finding], "resources": [resource]}
    verdict = answers.verdict(given)
    found, reached = verdict.findings[0], verdict.resources[0]
    texts = [verdict.tier, verdict.policy_version, found.check, found.reason, found.tier, found.fix or ""]
    for text in [*texts, reached.name, *reached.destinations, *reached.ports]:
        assert text.isprintable()
        assert len(text) == len(CONTROLS)


# the tunnel: what goes into UAPI, ip(8) and wg(8)


def test_a_proper_tunnel_is_read() -> None:
    config = answers.tunnel(TUNNEL)
    assert config.to_json() == {**TUNNEL, "dns": [], "domains": []}, "a gateway that knows no DNS sends none"
    named = {**TUNNEL, "dns": ["10.20.0.53", "fd00::53"], "domains": ["corp.example", "_x.example", "."]}
    assert answers.tunnel(named).to_json() == named


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("dns", [value])
            for value in ("9.9.9.9", "10.20.0.53%lo", "10.20.0.0/24", "", "x", "127.0.0.1", "fe80::1%eth0")
        ],
        *[("dns", value) for value in (None, "10.20.0.53", [5], ["10.20.0.53"] * 9)],
        *[("domains", value) for value in (None, "corp.example", [None], ["a"] * 257)],
        *[
            ("domains", [value])
            for value in (
                "",
                "-x",
                "~.",
                "a b",
                "a\nnameserver 9.9.9.9",
                "a..b",
                ".a",
                "a.",
                "é.example",
                "a" * 300,
                "--help",
            )
        ],
    ],
    ids=repr,
)
def test_name_servers_elsewhere_and_domains_that_are_none_are_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense):
        answers.tunnel({**TUNNEL, "dns": ["10.20.0.53"], "domains": ["corp.example"], name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "gateway.example.com:51820"),
        ("endpoint", "[2001:db8::1]:1"),
        ("addresses", ["100.96.0.2"]),
        ("routes", []),
        ("routes", ["0.0.0.0/0", "::/0"]),
        ("keepalive", 0),
    ],
)
def test_other_forms_of_a_proper_tunnel_are_read(name: str, value: Any) -> None:
    assert answers.tunnel({**TUNNEL, name: value}).to_json()[name] == value


INJECTION = "\nprivate_key=" + "00" * 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in ("addresses", "routes")
            for value in (None, "10.0.0.0/8", 5, {}, [5], [None], [[]], [""])
        ],
        *[(name, ["10.0.0.0/8"] * 257) for name in ("addresses", "routes")],
        *[
            (name, [value])
            for name in ("addresses", "routes")
            for value in (
                "10.0.0.0/33",
                "10.0.0.0/8\n",
                " 10.0.0.0/8",
                "10.0.0.0/8" + INJECTION,
                "10.0.0.0" + INJECTION + "/8",
                "fe80::%" + INJECTION + "/128",
                "fe80::1%eth0",
                "fe80::%x\nallowed_ip=0.0.0.0/0",
                "10.0.0.0/8,0.0.0.0/0",
                "10.0.0.0/255.0.0.0",
                "dev",
                "--help",
                "١٠.0.0.0/8",
            )
        ],
        ("addresses", []),
        ("routes", ["10.0.0.1/8"]),
        *[
            ("public_key", value)
            for value in (None, 5, [], "", "x", KEY[:-4], KEY + "\n", KEY + INJECTION, KEY * 2, "x" * 9999)
        ],
        *[
            ("endpoint", value)
            for value in (
                None,
                5,
                "",
                ":51820",
                "198.51.100.1",
                "198.51.100.1:",
                "198.51.100.1:0",
                "198.51.100.1:65536",
                "198.51.100.1:٥",
                "198.51.100.1:" + "9" * 5000,
                "198.51.100.1:51820" + INJECTION,
                "198.51.100.1" + INJECTION + ":51820",
                "a\nb:1",
                "[fe80::1%\n]:1",
                "2001:db8::1:51820",
                "a b:1",
                "ä:1",
                "x" * 300 + ":1",
            )
        ],
        *[("mtu", value) for value in (None, True, "1420", 1420.0, math.inf, 1279, 65440, -1, [], 10**400)],
        *[("keepalive", value) for value in (None, True, "25", 25.0, math.inf, 65536, -1, [])],
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_tunnel_with_a_wrong_member_is_refused(name: str, value: Any) -> None:
    with pytest.raises(Nonsense):
        answers.tunnel({**TUNNEL, name: value})


@pytest.mark.parametrize("name", [*TUNNEL])
def test_a_tunnel_without_one_of_its_members_is_refused(name: str) -> None:
    with pytest.raises(Nonsense):
        answers.tunnel({member: value for member, value in TUNNEL.items() if member != name})


PIECES = st.sampled_from(
    ["\n", "%", "/", ":", ".", "10.0.0.0", "fe80::", "[", "]", "private_key=", "errno=0", "=", "1", "a", KEY]
)


@given(
    name=st.sampled_from(["addresses", "routes", "endpoint", "public_key"]),
    pieces=st.lists(PIECES, max_size=6).map("".join),
)
def test_whatever_is_accepted_configures_one_peer_in_as_many_lines_as_it_has_routes(name: str, pieces: str) -> None:
    value = [pieces] if name in ("addresses", "routes") else pieces
    try:
        config = answers.tunnel({**TUNNEL, name: value})
    except Nonsense:
        return
    lines = uapi.configuration(bytes(32), config, config.endpoint, fwmark=1).split("\n")
    assert len(lines) == 10 + len(config.routes)
    assert [line.partition("=")[0] for line in lines].count("private_key") == 1
    assert all(line.isprintable() for line in lines)


def test_a_peer_of_uapi_without_numbers_has_sent_nothing() -> None:
    assert uapi.peer_state([("errno", "0")]) is None
    pairs = [
        ("public_key", "00"),
        ("rx_bytes", "-5"),
        ("tx_bytes", "x"),
        ("last_handshake_time_sec", ""),
        ("errno", "0"),
    ]
    assert uapi.peer_state(pairs) == uapi.PeerState(0, 0, 0)
