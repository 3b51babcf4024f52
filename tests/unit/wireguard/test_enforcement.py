"""What a session may reach, and until when: permits, leases, allowed sources, rates."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.packet import ip
from gateway.packet.drop import Drop
from gateway.packet.offload import PLAIN
from gateway.packet.permits import Permit
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.events import Kind
from gateway.wireguard.messages import INITIATION
from tests.sim.wire import pair, tcp, udp4, udp6

WIKI = udp4("10.0.0.1", "10.0.0.2", dport=80)
PAYROLL = udp4("10.0.0.1", "10.0.0.2", dport=443)
WIKI_ONLY = (Permit.parse("10.0.0.2/32 udp/80"),)
BOTH = (*WIKI_ONLY, Permit.parse("10.0.0.2/32 udp/443"))


def change(world, gateway, client, **fields):
    gateway.interface.configure(InterfaceConfig(peers=(PeerConfig(client.public, **fields),)), now=world.now)


def permit(world, gateway, client, permits):
    change(world, gateway, client, replace_permits=True, permits=permits)


def data(node):
    """What came out of a TUN, without the errors that tell of refusals."""
    return [packet for packet in node.received if packet[9] != ip.ICMP]


def test_a_peer_without_permits_is_stock_wireguard():
    world, client, gateway = pair()
    world.send(client, PAYROLL)
    assert gateway.received == [PAYROLL]


def test_an_empty_set_of_permits_reaches_nothing():
    world, client, gateway = pair()
    permit(world, gateway, client, ())
    world.send(client, WIKI)
    assert gateway.received == []
    assert gateway.interface.status(now=world.now).peers[0].drops == {Drop.NOT_PERMITTED: 1}


def test_permits_rule_the_next_packet_of_a_live_session_in_both_directions():
    world, client, gateway = pair()
    permit(world, gateway, client, BOTH)
    answer = udp4("10.0.0.2", "10.0.0.1", sport=443, dport=40000)
    world.send(client, PAYROLL)
    world.send(gateway, answer)
    permit(world, gateway, client, WIKI_ONLY)
    handshakes = sum(d[0] == INITIATION for _, _, d in world.log)
    world.send(client, PAYROLL)
    world.send(gateway, answer)
    world.send(client, WIKI)
    assert data(gateway) == [PAYROLL, WIKI]
    assert data(client) == [answer]
    assert sum(d[0] == INITIATION for _, _, d in world.log) == handshakes


def test_what_waits_for_a_handshake_is_judged_again_when_it_leaves():
    world, client, gateway = pair()
    permit(world, gateway, client, BOTH)
    world.send(client, PAYROLL)
    answer = udp4("10.0.0.2", "10.0.0.1", sport=443, dport=40000)
    client.interface.configure(InterfaceConfig(private_key=client.private), now=world.now)
    gateway.interface.configure(InterfaceConfig(private_key=gateway.private), now=world.now)
    world.tamper = lambda *_: []
    world.send(gateway, answer)
    permit(world, gateway, client, ())
    world.tamper = lambda _s, _t, data: [data]
    world.advance(6)
    assert client.received == []


def test_a_denied_flow_is_an_event_but_not_for_every_packet():
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    for _ in range(50):
        world.send(client, PAYROLL)
    denied = [e for e in gateway.interface.events() if e.kind is Kind.DENIED_FLOW]
    assert [str(e) for e in denied] == [
        f"event=denied_flow public_key={client.public.hex()} destination=10.0.0.2 protocol=17 port=443"
    ]


def test_a_connection_that_a_peer_begins_is_an_event_once_a_second():
    world, client, gateway = pair()
    permit(world, gateway, client, (Permit.parse("10.0.0.2/32 tcp/80"),))
    begins = tcp("10.0.0.1", "10.0.0.2", dport=80, flags=2)
    for packet in (tcp("10.0.0.1", "10.0.0.2", dport=80, flags=16), begins, begins, begins):
        world.send(client, packet)

    def told():
        return [str(e).partition(" destination")[2] for e in gateway.interface.events() if e.kind is Kind.SYN]

    assert told() == ["=10.0.0.2 fingerprint=64:8192:"]
    world.advance(1.1)
    world.send(client, begins)
    assert len(told()) == 1


def test_a_lease_ends_by_itself_and_the_old_key_gets_no_handshake():
    world, client, gateway = pair()
    change(world, gateway, client, lease_ms=60_000)
    world.send(client, WIKI)
    world.advance(59.9)
    world.send(client, WIKI)
    world.advance(0.2)
    at = len(world.log)
    world.send(client, WIKI)
    assert len(gateway.received) == 2
    world.advance(30)
    assert [d[0] for s, _, d in world.log[at:] if s == gateway.address] == []
    assert gateway.interface.drops[Drop.LEASE_ENDED] > 0
    assert Kind.LEASE_ENDED in [e.kind for e in gateway.interface.events()]


def test_a_process_that_slept_past_the_lease_forwards_nothing_on_waking():
    world, client, gateway = pair()
    change(world, gateway, client, lease_ms=60_000)
    world.send(client, WIKI)
    caught: list[bytes] = []
    world.tamper = lambda _s, _t, data: caught.append(data) or []
    world.send(client, WIKI)
    world.tamper = lambda _s, _t, data: [data]
    world.now += 61  # nobody called handle_deadline
    world.inject(client.address, gateway.address, caught[0])
    gateway.interface.send(memoryview(PLAIN + udp4("10.0.0.2", "10.0.0.1")), now=world.now)
    world.settle()
    assert len(gateway.received) == 1
    assert client.received == []


def test_a_renewed_lease_goes_on_in_the_same_session():
    world, client, gateway = pair()
    change(world, gateway, client, lease_ms=60_000)
    world.send(client, WIKI)
    for _ in range(10):
        world.advance(20)
        change(world, gateway, client, lease_ms=60_000)
        world.send(client, WIKI)
    assert len(gateway.received) == 11


def test_a_lease_of_zero_ends_it_now_and_a_later_one_opens_it_again():
    world, client, gateway = pair()
    world.send(client, WIKI)
    change(world, gateway, client, lease_ms=0)
    world.send(client, WIKI)
    assert len(gateway.received) == 1
    assert gateway.interface.status(now=world.now).peers[0].lease_ms == 0
    change(world, gateway, client, lease_ms=60_000)
    world.advance(20)
    assert len(gateway.received) == 1
    world.send(client, WIKI)
    assert len(gateway.received) == 2


def test_a_removed_peer_is_a_stranger():
    world, client, gateway = pair()
    world.send(client, WIKI)
    change(world, gateway, client, remove=True)
    world.send(client, WIKI)
    world.advance(30)
    assert len(gateway.received) == 1
    assert gateway.interface.drops[Drop.UNKNOWN_INDEX] > 0
    assert gateway.interface.drops[Drop.UNKNOWN_PEER] > 0


@pytest.mark.parametrize("packet", [udp4("10.0.0.99", "10.0.0.2"), udp6("fd00::99", "fd00::2")])
def test_an_inner_source_that_is_not_the_peers_is_dropped(packet):
    world, client, gateway = pair()
    world.send(client, packet)
    assert gateway.received == []
    assert gateway.interface.drops[Drop.SOURCE_NOT_ALLOWED] == 1


def test_a_more_specific_network_steals_the_traffic_and_the_right_to_send_it():
    world, client, gateway = pair()
    thief = world.node(3)
    world.join(thief, gateway)
    world.send(client, WIKI)
    network = ip_network("10.0.0.1/32")
    change(world, gateway, thief, allowed_ips=(network,))
    world.send(client, WIKI)
    assert len(gateway.received) == 1
    owners = {p.public_key: p.allowed_ips for p in gateway.interface.status(now=world.now).peers}
    assert network not in owners[client.public]
    assert network in owners[thief.public]


def test_one_peer_cannot_reach_another_without_a_permit():
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    world.send(client, tcp("10.0.0.1", "10.0.0.3"))
    assert gateway.received == []


def test_update_only_creates_nobody():
    world, client, gateway = pair()
    change(world, gateway, client, remove=True)
    change(world, gateway, client, update_only=True, keepalive=5)
    assert gateway.interface.status(now=world.now).peers == ()


def test_a_rate_lets_the_excess_wait_and_drops_what_would_wait_too_long():
    world, client, gateway = pair()
    world.send(client, WIKI)
    for limits, sender, receiver, there in (
        ({"rate_rx": 1_000_000}, client, gateway, ("10.0.0.1", "10.0.0.2")),
        ({"rate_rx": 0, "rate_tx": 1_000_000}, gateway, client, ("10.0.0.2", "10.0.0.1")),
    ):
        change(world, gateway, client, **limits)
        began, dropped = len(receiver.received), gateway.interface.drops[Drop.RATE_EXCEEDED]
        for number in range(200):
            world.send(sender, udp4(*there, number.to_bytes(2, "big") + bytes(998)))
        assert len(receiver.received) - began == 1
        assert (
            gateway.interface.drops[Drop.RATE_EXCEEDED] - dropped == 196
        )  # the first, and 8.2 ms each until 30 ms are full
        world.advance(0.04)
        assert [int.from_bytes(each[28:30], "big") for each in receiver.received[began:]] == [0, 1, 2, 3]
    change(world, gateway, client, rate_tx=0)
    before = len(gateway.received)
    world.send(client, WIKI)
    assert len(gateway.received) == before + 1


def test_what_waits_for_its_turn_does_not_outlive_the_permit_or_the_lease():
    for end in ({"replace_permits": True}, {"lease_ms": 0}, {"remove": True}):
        world, client, gateway = pair()
        change(world, gateway, client, replace_permits=True, permits=(Permit.parse("10.0.0.0/8"),), rate_rx=1_000_000)
        for _ in range(4):
            world.send(client, udp4("10.0.0.1", "10.0.0.2", bytes(1000)))
        assert len(gateway.received) == 1
        change(world, gateway, client, **end)
        world.advance(0.05)
        assert len(gateway.received) == 1


HTTPS = Permit.parse("10.0.0.2/32 tcp/443")
THERE = tcp("10.0.0.1", "10.0.0.2", b"data", sequence=1000)
BACK = tcp("10.0.0.2", "10.0.0.1", b"answer", sport=443, dport=40000, sequence=5000)


def resets(node):
    return [packet for packet in node.received if packet[9] == ip.TCP and packet[33] & 0x04]


@pytest.mark.parametrize("from_peer", [True, False], ids=["the-peer-speaks-first", "the-server-speaks-first"])
def test_a_cut_tcp_flow_is_reset_at_both_ends_once(from_peer):
    world, client, gateway = pair()
    permit(world, gateway, client, (HTTPS,))
    world.send(client, THERE)
    world.send(gateway, BACK)
    permit(world, gateway, client, WIKI_ONLY)
    for _ in range(3):
        world.send(*((client, THERE) if from_peer else (gateway, BACK)))
    assert len(resets(client)) == len(resets(gateway)) == 1
    to_client, to_server = resets(client)[0], resets(gateway)[0]
    assert (to_client[12:20], to_client[20:24]) == (BACK[12:20], BACK[20:24])
    assert (to_server[12:20], to_server[20:24]) == (THERE[12:20], THERE[20:24])


def test_a_refused_new_connection_is_answered_with_an_icmp_error_from_whom_it_was_meant_for():
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    world.send(client, tcp("10.0.0.1", "10.0.0.2", flags=0x02))
    (error,) = client.received
    assert (error[9], error[12:16], error[16:20], error[20:22]) == (ip.ICMP, THERE[16:20], THERE[12:16], b"\3\r")
    assert gateway.received == []


def test_what_the_office_begins_is_refused_with_an_error_too():
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    world.send(client, WIKI)
    world.send(gateway, tcp("10.0.0.2", "10.0.0.1", sport=999, dport=22, flags=0x02))
    assert gateway.received[-1][9] == ip.ICMP
    assert client.received == []


def test_answers_to_refusals_are_limited_per_peer():
    world, client, gateway = pair()
    permit(world, gateway, client, ())
    for _ in range(500):
        world.send(client, PAYROLL)
    assert 0 < len(client.received) <= 20
    world.advance(1.0)
    for _ in range(500):
        world.send(client, PAYROLL)
    assert 20 < len(client.received) <= 41


def test_a_flow_that_is_permitted_again_before_its_next_packet_goes_on():
    world, client, gateway = pair()
    permit(world, gateway, client, (HTTPS,))
    world.send(client, THERE)
    permit(world, gateway, client, WIKI_ONLY)
    permit(world, gateway, client, (HTTPS,))
    world.send(client, THERE)
    assert gateway.received == [THERE, THERE]
    assert resets(client) == resets(gateway) == []


def test_a_peer_without_permits_is_never_answered():
    world, client, gateway = pair()
    world.send(client, udp4("10.0.0.99", "10.0.0.2"))
    world.send(gateway, udp4("10.0.0.2", "10.9.9.9"))
    assert client.received == gateway.received == []


POOL, GATEWAY = ip_network("10.0.0.0/24"), ip_network("10.0.0.2/32")


def guarded(*texts):
    """A gateway whose own address and pool are guarded, with these permits; a second client is in the pool."""
    world, client, gateway = pair()
    change(world, client, gateway, allowed_ips=(ip_network("10.0.0.0/8"),))
    gateway.interface.guard([POOL, GATEWAY])
    permit(world, gateway, client, tuple(map(Permit.parse, texts)))
    return world, client, gateway


@pytest.mark.parametrize("wide", ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/23 tcp"])
@pytest.mark.parametrize("destination", ["10.0.0.2", "10.0.0.3"], ids=["the-gateway", "another-peer"])
def test_a_wide_permit_means_neither_the_gateway_itself_nor_another_peer(wide, destination):
    world, client, gateway = guarded(wide)
    world.send(client, tcp("10.0.0.1", destination))
    assert gateway.received == []
    world.send(client, tcp("10.0.0.1", "10.0.1.7"))
    assert len(gateway.received) == 1, "what lies outside is reached"


def test_the_pool_is_named_by_its_network_and_the_gateway_by_its_address_alone():
    world, client, gateway = guarded("10.0.0.0/24")
    world.send(client, tcp("10.0.0.1", "10.0.0.3"))
    world.send(client, tcp("10.0.0.1", "10.0.0.2"))
    assert len(gateway.received) == 1
    permit(world, gateway, client, (Permit.parse("10.0.0.2/32 tcp/443"),))
    world.send(client, tcp("10.0.0.1", "10.0.0.2"))
    assert len(gateway.received) == 2


def test_an_address_that_the_host_gets_later_is_guarded_from_the_next_packet_on():
    world, client, gateway = guarded("10.0.0.0/8")
    packet = tcp("10.0.0.1", "10.5.5.5", b"data")
    world.send(client, packet)
    assert gateway.received == [packet]
    gateway.interface.guard([POOL, GATEWAY, ip_network("10.5.5.5/32")])
    world.send(client, packet)
    assert [p for p in gateway.received if not p[33] & 0x04] == [packet], "the established flow is cut"


def test_a_peer_without_permits_knows_no_guard():
    world, client, gateway = pair()
    gateway.interface.guard([POOL, GATEWAY])
    world.send(client, WIKI)
    assert gateway.received == [WIKI]


def with_options(packet, options):
    """The packet with IPv4 options in its header."""
    header = bytearray(packet[:20] + options)
    header[0] = 0x40 | (20 + len(options)) // 4
    header[2:4] = (len(packet) + len(options)).to_bytes(2, "big")
    return bytes(header) + packet[20:]


LOOSE, STRICT = (bytes([kind, 7, 4, 10, 9, 9, 9, 0]) for kind in (131, 137))


@pytest.mark.parametrize("options", [LOOSE, STRICT, b"\1\1" + LOOSE[:7] + b"\0\0\0", b"\x44\1\0\0"])
def test_a_source_route_does_not_lead_past_the_permits(options):
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    world.send(client, with_options(WIKI, options))
    assert gateway.received == []
    assert gateway.interface.drops[Drop.NOT_PERMITTED] == 1


def test_other_options_pass():
    world, client, gateway = pair()
    permit(world, gateway, client, WIKI_ONLY)
    packet = with_options(WIKI, b"\x94\4\0\0")  # router alert
    world.send(client, packet)
    assert gateway.received == [packet]


@pytest.mark.parametrize(("left", "passes"), [(1, False), (0, True)])
def test_a_routing_header_with_stops_left_does_not_lead_past_the_permits(left, passes):
    world, client, gateway = pair()
    permit(world, gateway, client, (Permit.parse("fd00::2/128 udp/80"),))
    inner = udp6("fd00::1", "fd00::2", dport=80)
    header = bytes([17, 2, 0, left, 0, 0, 0, 0]) + bytes(16)
    packet = bytearray(inner[:40] + header + inner[40:])
    packet[6] = 43
    packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
    world.send(client, bytes(packet))
    assert (len(data(gateway)) == 1) is passes


def fragment(packet, offset, more, identification=7):
    changed = bytearray(packet)
    changed[4:6] = identification.to_bytes(2, "big")
    changed[6:8] = (offset // 8 | (0x2000 if more else 0)).to_bytes(2, "big")
    return bytes(changed)


def smuggle(world, node, packet):
    """Send what our own end would refuse: a peer may run any program."""
    (peer,) = node.interface._state.peers.values()
    node.interface._transport._seal(peer, PLAIN + packet, now=world.now)
    world.settle()


@pytest.mark.parametrize("offset", [8, 16])
def test_a_fragment_cannot_overwrite_the_ports_that_were_judged(offset):
    """RFC 1858 section 4.2."""
    world, client, gateway = pair()
    permit(world, gateway, client, (HTTPS,))
    world.send(client, fragment(THERE, 0, more=True))
    smuggle(world, client, fragment(THERE, offset, more=False))
    assert len(gateway.received) == 1
    assert gateway.interface.drops[Drop.MALFORMED_PACKET] == 1


@pytest.mark.parametrize("version", [4, 6])
def test_a_fragment_with_a_forged_source_is_dropped(version):
    world, client, gateway = pair()
    packet = fragment(udp4("10.0.0.99", "10.0.0.2"), 64, more=False)
    if version == 6:
        inner = udp6("fd00::99", "fd00::2")
        packet = bytearray(inner[:40] + bytes([17, 0, 0, 64, 0, 0, 0, 7]) + inner[40:])
        packet[6] = 44
        packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
    world.send(client, bytes(packet))
    assert gateway.received == []
    assert gateway.interface.drops[Drop.SOURCE_NOT_ALLOWED] == 1


def test_a_datagram_of_ours_that_comes_back_into_the_tunnel_is_dropped():
    """A default route through the tunnel that also holds for the endpoint: without this it would grow and double."""
    world, client, gateway = pair()
    change(world, client, gateway, allowed_ips=(ip_network("0.0.0.0/0"),))
    address, port = gateway.address
    world.send(client, udp4("10.0.0.1", address, bytes(100), dport=port))
    world.send(client, fragment(udp4("10.0.0.1", address, bytes(100)), 1400, more=False))
    assert gateway.received == []
    assert client.interface.drops[Drop.ROUTING_LOOP] == 2
    world.send(client, udp4("10.0.0.1", address, bytes(100), dport=53))
    assert client.interface.drops[Drop.ROUTING_LOOP] == 2, "another service at the endpoint's address is none"
