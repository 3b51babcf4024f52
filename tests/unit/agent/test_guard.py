"""The text of the protection: what is let out, in which order, and that nothing else can be written into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.guard import DEFAULTS, MARK, Protection, protected, ruleset

OFFICE = Protection("sallyport", ("10.20.0.0/16", "fd00::/8"), ("100.96.0.2/32", "fd53::2/128"))


def lines(protection: Protection) -> list[str]:
    return [line.strip() for line in ruleset(protection).splitlines()]


def test_the_tunnel_and_what_is_marked_leave_and_the_rest_of_the_prefixes_does_not() -> None:
    text = lines(OFFICE)
    order = [
        'oifname { "lo", "sallyport" } return',
        f"meta mark {MARK:#x} return",
        "ip daddr { 10.20.0.0/16 } counter name leaks reject with icmpx admin-prohibited",
        "ip6 daddr { fd00::/8 } counter name leaks reject with icmpx admin-prohibited",
    ]
    assert [text.index(line) for line in order] == sorted(text.index(line) for line in order)
    assert not any("dport { 53" in line for line in text), (
        "DNS goes where it went unless all names belong to the tunnel"
    )


def test_a_neighbour_cannot_knock_at_the_tunnels_address() -> None:
    for sign, address in (("ip", "100.96.0.2"), ("ip6", "fd53::2")):
        wanted = f'iifname != {{ "lo", "sallyport" }} {sign} daddr {address} counter name strangers drop'
        assert wanted in lines(OFFICE)


def test_where_all_names_belong_to_the_tunnel_no_question_leaves_elsewhere() -> None:
    text = lines(Protection("sallyport", ("10.20.0.0/16",), (), every_name=True))
    assert any(line.startswith("meta l4proto { tcp, udp } th dport { 53, 853 }") for line in text)


def test_a_default_route_protects_both_families_and_lets_the_link_live() -> None:
    assert protected(["0.0.0.0/0"]) == protected(["::/0", "10.0.0.0/8"]) == DEFAULTS
    text = lines(Protection("sallyport", DEFAULTS))
    assert any("nd-neighbor-solicit" in line for line in text)
    assert not any("nd-neighbor-solicit" in line for line in lines(OFFICE))


def test_prefixes_are_told_once() -> None:
    assert protected(["10.20.0.0/16", "10.20.5.0/24", "10.20.0.0/16", "fd00::/8"]) == ("10.20.0.0/16", "fd00::/8")
    assert protected([]) == ()


def test_while_only_a_person_can_help_a_browser_gets_out_and_the_office_stays_closed() -> None:
    given = Protection("sallyport", (*DEFAULTS, "10.20.0.0/16"), (), every_name=True)
    assert given.waiting_for_a_person() == Protection("sallyport", ("10.20.0.0/16",))


def test_the_table_replaces_the_one_before_in_one_transaction() -> None:
    assert ruleset(OFFICE).startswith("table inet sallyport-agent { }\ndelete table inet sallyport-agent\ntable inet")


def test_what_is_remembered_is_what_was_meant() -> None:
    assert Protection.from_json(OFFICE.to_json()) == OFFICE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefixes", ["10.20.0.0/16 } accept #"]),
        ("prefixes", ["10.20.0.1/16"]),
        ("prefixes", 5),
        ("addresses", ["x"]),
        ("interface", 'x" } accept'),
        ("interface", ""),
        ("interface", "a" * 16),
        ("interface", None),
    ],
)
def test_a_memory_that_somebody_else_wrote_is_not_followed(name: str, value: object) -> None:
    if value is None:
        value = "a\nb"
    with pytest.raises((ValueError, TypeError)):
        Protection.from_json({**OFFICE.to_json(), name: value})


@given(st.lists(st.ip_addresses().map(str), max_size=8))
def test_every_address_of_a_route_is_protected(addresses: list[str]) -> None:
    prefixes = protected([f"{a}/{128 if ':' in a else 32}" for a in addresses])
    text = ruleset(Protection("sallyport", prefixes))
    assert text.count("{") == text.count("}")
    assert len(prefixes) <= len(addresses)
