"""Flows: replies pass, nothing else comes in, and a changed permit set rules the next packet."""

from __future__ import annotations

import pytest

from gateway.packet import flows as module
from gateway.packet import ip
from gateway.packet.drop import Drop
from gateway.packet.flows import MAX_FLOWS, Flows
from gateway.packet.permits import Permit, Permits
from tests.sim.wire import packet, tcp, udp4, udp6

PEER, SERVER, OTHER = "10.0.0.1", "10.20.0.10", "10.20.5.10"


def flows(*texts):
    return Flows(Permits(map(Permit.parse, texts)))


def out(table, data, now=0.0):
    return table.from_peer(data, ip.parse(data), now=now)


def back(table, data, now=0.0):
    return table.to_peer(data, ip.parse(data), now=now)


def test_a_permitted_packet_passes_and_so_does_its_answer():
    table = flows("10.20.0.10/32 tcp/443")
    assert out(table, tcp(PEER, SERVER)) is None
    assert back(table, tcp(SERVER, PEER, sport=443, dport=40000)) is None


def test_an_answer_to_nothing_is_refused():
    table = flows("10.20.0.10/32 tcp/443")
    assert back(table, tcp(SERVER, PEER, sport=443, dport=40000)) is Drop.NO_FLOW


def test_a_server_may_not_begin_a_flow_to_another_port_of_the_peer():
    table = flows("10.20.0.10/32 tcp/443")
    out(table, tcp(PEER, SERVER))
    assert back(table, tcp(SERVER, PEER, sport=443, dport=22)) is Drop.NO_FLOW


def test_what_is_not_permitted_is_refused():
    table = flows("10.20.0.10/32 tcp/443")
    assert out(table, tcp(PEER, OTHER)) is Drop.NOT_PERMITTED
    assert out(table, tcp(PEER, SERVER, dport=80)) is Drop.NOT_PERMITTED


def test_an_established_flow_ends_in_both_directions_when_its_permit_goes():
    table = flows("10.20.0.10/32 tcp/443", "10.20.5.10/32 tcp/443")
    for server in (SERVER, OTHER):
        out(table, tcp(PEER, server))
    table.replace(Permits([Permit.parse("10.20.0.10/32 tcp/443")]))
    assert out(table, tcp(PEER, OTHER)) is Drop.NOT_PERMITTED
    assert back(table, tcp(OTHER, PEER, sport=443, dport=40000)) is Drop.NO_FLOW


def test_an_established_flow_survives_a_change_that_still_permits_it():
    table = flows("10.20.0.10/32 tcp/443", "10.20.5.10/32 tcp/443")
    out(table, tcp(PEER, SERVER))
    table.replace(Permits([Permit.parse("10.20.0.0/16 tcp")]))
    assert back(table, tcp(SERVER, PEER, sport=443, dport=40000)) is None


@pytest.mark.parametrize(("protocol", "idle"), [("udp", 180.0), ("tcp", 7440.0)])
def test_a_silent_flow_is_forgotten(protocol, idle):
    table = flows("10.20.0.10/32")
    begin, answer = (
        (udp4(PEER, SERVER), udp4(SERVER, PEER, sport=7, dport=40000))
        if protocol == "udp"
        else (tcp(PEER, SERVER), tcp(SERVER, PEER, sport=443, dport=40000))
    )
    out(table, begin, now=0.0)
    assert back(table, answer, now=idle - 1) is None
    assert back(table, answer, now=2 * idle) is Drop.NO_FLOW


def test_the_table_is_bounded_and_forgets_the_longest_unused_first():
    table = flows("10.20.0.10/32")
    out(table, udp4(PEER, SERVER, sport=1))
    out(table, udp4(PEER, SERVER, sport=2))
    out(table, udp4(PEER, SERVER, sport=1))
    for port in range(3, MAX_FLOWS + 2):
        out(table, udp4(PEER, SERVER, sport=port))
    assert len(table) == MAX_FLOWS
    assert back(table, udp4(SERVER, PEER, sport=7, dport=1)) is None
    assert back(table, udp4(SERVER, PEER, sport=7, dport=2)) is Drop.NO_FLOW


def test_later_fragments_pass_behind_a_permitted_first_one_and_not_alone():
    table = flows("10.20.0.10/32 udp/7")
    first, later = bytearray(udp4(PEER, SERVER, bytes(64))), bytearray(udp4(PEER, SERVER, bytes(64)))
    first[4:8], later[4:8] = b"\x00\x07\x20\x00", b"\x00\x07\x00\x40"
    assert out(table, later) is Drop.NOT_PERMITTED
    assert out(table, first) is None
    assert out(table, later) is None
    table.replace(Permits())
    assert out(table, later) is Drop.NOT_PERMITTED


def test_ipv6_flows_are_kept_apart_from_ipv4():
    table = flows("fd00:20::10/128 udp/7")
    assert out(table, udp6("fd00::1", "fd00:20::10")) is None
    assert back(table, udp6("fd00:20::10", "fd00::1", sport=7, dport=40000)) is None
    assert out(table, udp6("fd00::1", "fd00:20::11")) is Drop.NOT_PERMITTED


def icmp_error(source, destination, quoted):
    return packet(source, destination, ip.ICMP, b"\x03\x04\0\0\0\0\x05\x78" + quoted[:28])


def test_an_icmp_error_about_a_known_flow_passes_from_any_router():
    table = flows("10.20.0.10/32 tcp/443")
    out(table, tcp(PEER, SERVER))
    assert back(table, icmp_error("10.20.255.1", PEER, tcp(PEER, SERVER, b"x" * 100))) is None


def test_an_icmp_error_about_an_unknown_flow_is_refused():
    table = flows("10.20.0.10/32 tcp/443")
    assert back(table, icmp_error("10.20.255.1", PEER, tcp(PEER, SERVER, b"x" * 100))) is Drop.NO_FLOW
    assert back(table, packet("10.20.255.1", PEER, ip.ICMP, b"\x03\x04" + bytes(6))) is Drop.NO_FLOW


def test_a_ping_is_answered_and_an_unasked_answer_is_not():
    table = flows("10.20.0.10/32 icmp")
    assert out(table, packet(PEER, SERVER, ip.ICMP, b"\x08\0\0\0\x12\x34\0\x01", 2)) is None
    assert back(table, packet(SERVER, PEER, ip.ICMP, b"\0\0\0\0\x12\x34\0\x01", 2)) is None
    assert back(table, packet(SERVER, PEER, ip.ICMP, b"\0\0\0\0\x99\x99\0\x01", 2)) is Drop.NO_FLOW


def test_the_memory_for_fragments_is_bounded():
    table = flows("10.20.0.10/32 udp/7")
    for number in range(3 * module.MAX_FRAGMENTED):
        first = bytearray(udp4(PEER, SERVER, bytes(64)))
        first[4:8] = number.to_bytes(2, "big") + b"\x20\x00"
        out(table, first)
    assert len(table._fragments) == module.MAX_FRAGMENTED
