"""Permits: their text, and what they let through."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.packet import ip
from gateway.packet.permits import Permit, Permits


def allows(texts, destination, protocol=ip.TCP, port=443):
    return Permits(map(Permit.parse, texts)).allow(ip_address(destination).packed, protocol, port)


@pytest.mark.parametrize(
    "text",
    ["10.20.0.0/16", "10.20.0.10/32 tcp", "10.20.0.10/32 tcp/443", "10.0.0.0/8 udp/5000-5010", "fd00::/8 icmpv6"],
)
def test_a_permit_is_written_as_it_was_read(text):
    assert str(Permit.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "anything", "10.0.0.0/33", "10.0.0.0/8 sctp", "10.0.0.0/8 tcp/0", "10.0.0.0/8 tcp/70000",
        "10.0.0.0/8 tcp/20-10", "10.0.0.0/8  tcp", "10.0.0.0/8 icmp/8", "10.0.0.0/8 tcp/-5", "10.0.0.0/8 tcp/443 ",
        "10.0.0.0/8 tcp/443\n", "::/0/0", "10.0.0.0/8 tcp/٣",
    ],
)  # fmt: skip
def test_a_wrong_permit_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="tcp, udp, icmp or icmpv6"):
        Permit.parse(text)


def test_nothing_is_allowed_without_a_permit():
    assert not allows([], "10.20.0.10")


def test_protocol_and_port_must_match():
    texts = ["10.20.0.0/24 tcp/443", "10.20.0.0/24 udp/5000-5010"]
    assert allows(texts, "10.20.0.10")
    assert not allows(texts, "10.20.0.10", port=80)
    assert not allows(texts, "10.20.1.10")
    assert allows(texts, "10.20.0.10", ip.UDP, 5010)
    assert not allows(texts, "10.20.0.10", ip.UDP, 5011)
    assert not allows(texts, "10.20.0.10", ip.ICMP, 0)


def test_a_wider_permit_helps_where_a_narrower_one_does_not():
    assert allows(["10.20.0.10/32 udp", "10.20.0.0/16 tcp/443"], "10.20.0.10")


@pytest.mark.parametrize("destination", ["224.0.0.251", "255.255.255.255", "169.254.169.254", "127.0.0.1"])
def test_a_permit_for_everything_does_not_mean_special_addresses(destination):
    assert not allows(["0.0.0.0/0"], destination)


def test_a_special_address_that_is_named_is_allowed():
    assert allows(["224.0.0.251/32 udp/5353"], "224.0.0.251", ip.UDP, 5353)
    assert allows(["ff02::/16"], "ff02::fb")
