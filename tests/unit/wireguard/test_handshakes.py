"""Handshakes and timers in the simulated world (paper section 6)."""

from __future__ import annotations

import pytest

from gateway.packet.drop import Drop
from gateway.packet.offload import PLAIN
from gateway.wireguard.config import InterfaceConfig, PeerConfig
from gateway.wireguard.messages import COOKIE_REPLY, INITIATION, RESPONSE, TRANSPORT
from gateway.wireguard.spec import MAX_STAGED
from tests.sim.wire import World, pair, public_key, udp4, udp6
from tests.unit.wireguard.test_primitives import LOW_ORDER

A_TO_B, B_TO_A = udp4("10.0.0.1", "10.0.0.2"), udp4("10.0.0.2", "10.0.0.1")


def kinds(world, since=0, source=None):
    return [d[0] for s, _, d in world.log[since:] if source is None or s == source.address]


def status(node, world):
    return node.interface.status(now=world.now).peers[0]


def test_the_first_packet_starts_a_handshake_and_arrives_after_it():
    world, a, b = pair()
    world.send(a, A_TO_B)
    assert b.received == [A_TO_B]
    assert kinds(world) == [INITIATION, RESPONSE, TRANSPORT]


def test_ipv4_and_ipv6_pass_in_both_directions():
    world, a, b = pair()
    for packet, to in ((A_TO_B, b), (udp6("fd00::1", "fd00::2"), b), (B_TO_A, a), (udp6("fd00::2", "fd00::1"), a)):
        world.send(b if to is a else a, packet)
        assert to.received[-1] == packet


def test_a_preshared_key_must_be_the_same_on_both_sides():
    world, a, b = pair()
    for node, other, key in ((a, b, b"p" * 32), (b, a, b"q" * 32)):
        node.interface.configure(InterfaceConfig(peers=(PeerConfig(other.public, preshared_key=key),)), now=world.now)
    world.send(a, A_TO_B)
    assert b.received == []
    assert a.interface.drops[Drop.HANDSHAKE_FORGED] == 1
    a.interface.configure(InterfaceConfig(peers=(PeerConfig(b.public, preshared_key=b"q" * 32),)), now=world.now)
    world.advance(6)
    assert b.received == [A_TO_B]


def test_an_unanswered_initiation_is_repeated_every_five_seconds_for_ninety():
    world, a, b = pair()
    world.tamper = lambda *_: []
    world.send(a, A_TO_B)
    world.advance(300)
    assert kinds(world) == [INITIATION] * 19
    assert status(a, world).drops[Drop.QUEUE_FULL] == 1
    world.tamper = lambda _s, _t, data: [data]
    world.send(a, A_TO_B)
    assert b.received == [A_TO_B]


def test_what_waits_for_a_handshake_is_bounded_and_loses_the_oldest():
    world, a, b = pair()
    world.tamper = lambda *_: []
    packets = [udp4("10.0.0.1", "10.0.0.2", n.to_bytes(2, "big")) for n in range(MAX_STAGED + 10)]
    for packet in packets:
        world.send(a, packet)
    world.tamper = lambda _s, _t, data: [data]
    world.advance(6)
    assert b.received == packets[10:]
    assert status(a, world).drops[Drop.QUEUE_FULL] == 10


def test_keys_are_renewed_by_the_initiator_after_120_seconds_of_traffic():
    world, a, b = pair()
    for _ in range(60):
        world.send(a, A_TO_B)
        world.send(b, B_TO_A)
        world.advance(10)
    initiations = [s for s, _, d in world.log if d[0] == INITIATION]
    assert initiations == [a.address] * 6  # at 0, 120, …, 600 s
    assert len(b.received) == len(a.received) == 60


def test_an_idle_tunnel_is_silent():
    world, a, _ = pair()
    world.send(a, A_TO_B)
    before = len(world.log)
    world.advance(600)
    assert kinds(world, before) == [TRANSPORT]  # b's one keepalive: it received data and had nothing to say


def test_data_without_an_answer_leads_to_a_new_handshake_after_15_seconds():
    world, a, b = pair()
    world.send(a, A_TO_B)
    world.send(b, B_TO_A)
    world.tamper = lambda _s, to, data: [] if to == b.address else [data]
    at = len(world.log)
    world.send(a, A_TO_B)
    world.advance(14.9)
    assert INITIATION not in kinds(world, at, source=a)
    world.advance(1.0)
    assert kinds(world, at, source=a).count(INITIATION) == 1


def test_a_persistent_keepalive_is_sent_from_the_start_and_every_interval():
    world, a, b = pair()
    a.interface.configure(InterfaceConfig(peers=(PeerConfig(b.public, keepalive=25),)), now=world.now)
    world.settle()
    assert kinds(world) == [INITIATION, RESPONSE, TRANSPORT]
    world.advance(100)
    assert len(kinds(world, 3, source=a)) == 4


def test_keys_are_forgotten_nine_minutes_after_the_handshake():
    world, a, b = pair()
    world.send(a, A_TO_B)
    old = next(d for _, _, d in world.log if d[0] == TRANSPORT)
    world.advance(541)
    world.inject(a.address, b.address, old)
    assert b.interface.drops[Drop.UNKNOWN_INDEX] == 1


def test_keys_older_than_180_seconds_open_nothing():
    world, a, b = pair()
    world.send(a, A_TO_B)
    caught: list[bytes] = []
    world.tamper = lambda _s, _t, data: caught.append(data) or []
    world.send(a, A_TO_B)
    world.tamper = lambda _s, _t, data: [data]
    world.now += 181
    world.inject(a.address, b.address, caught[0])
    assert len(b.received) == 1
    assert b.interface.drops[Drop.KEYPAIR_EXPIRED] == 1


def test_a_replayed_datagram_is_dropped():
    world, a, b = pair()
    world.send(a, A_TO_B)
    data = next(d for _, _, d in world.log if d[0] == TRANSPORT)
    world.inject(a.address, b.address, data)
    assert b.received == [A_TO_B]
    assert b.interface.drops[Drop.COUNTER_REPLAYED] == 1


def test_a_replayed_initiation_gets_no_answer_and_moves_nothing():
    world, a, b = pair()
    world.send(a, A_TO_B)
    initiation = world.log[0][2]
    world.advance(1)
    at = len(world.log)
    world.inject(("203.0.113.66", 666), b.address, initiation)
    assert world.log[at:] == []
    assert b.interface.drops[Drop.HANDSHAKE_REPLAYED] == 1
    assert status(b, world).endpoint == a.address


def test_an_initiation_replayed_after_a_restart_moves_no_endpoint_and_breaks_no_session():
    world, a, _b = pair()
    world.send(a, A_TO_B)
    initiation = world.log[0][2]
    restarted = world.node(2)
    world.join(restarted, a)
    world.inject(("203.0.113.66", 666), restarted.address, initiation)
    assert status(restarted, world).endpoint == a.address
    assert status(restarted, world).last_handshake == 0
    world.send(restarted, B_TO_A)
    assert a.received == [B_TO_A]


def test_the_endpoint_follows_authenticated_traffic_of_both_roles():
    world, a, b = pair()
    world.send(a, A_TO_B)
    moved = ("198.51.100.9", 4242)
    world.nodes[moved] = a
    a.address, old = moved, a.address
    world.send(a, A_TO_B)
    assert status(b, world).endpoint == moved
    del world.nodes[old]
    world.send(b, B_TO_A)
    assert a.received == [B_TO_A]


def test_a_forged_datagram_moves_no_endpoint():
    world, a, b = pair()
    world.send(a, A_TO_B)
    data = bytearray(next(d for _, _, d in world.log if d[0] == TRANSPORT))
    data[8] = 9
    data[-1] ^= 1
    world.inject(("203.0.113.66", 666), b.address, bytes(data))
    assert b.interface.drops[Drop.TRANSPORT_FORGED] == 1
    assert status(b, world).endpoint == a.address


def test_strangers_get_no_answer():
    world, _, b = pair()
    stranger = world.node(3)
    world.join(stranger, b)
    b.interface.configure(InterfaceConfig(peers=(PeerConfig(stranger.public, remove=True),)), now=world.now)
    at = len(world.log)
    world.send(stranger, udp4("10.0.0.3", "10.0.0.2"))
    assert kinds(world, at) == [INITIATION]
    assert b.interface.drops[Drop.UNKNOWN_PEER] == 1


@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_low_order_peer_never_causes_a_datagram(key):
    world = World()
    node = world.node(1)
    peer = PeerConfig(key, endpoint=("192.0.2.9", 1), keepalive=1)
    node.interface.configure(InterfaceConfig(peers=(peer,)), now=world.now)
    world.advance(20)
    assert world.log == []


def test_our_own_key_is_no_peer():
    world = World()
    node = world.node(1)
    node.interface.configure(InterfaceConfig(peers=(PeerConfig(public_key(node.private)),)), now=world.now)
    assert node.interface.status(now=world.now).peers == ()


def test_initiations_closer_than_20_milliseconds_are_not_answered():
    world, a, b = pair()
    world.tamper = lambda _s, to, data: [] if to == a.address else [data]
    for _ in range(2):
        fresh = world.node(1)
        world.join(fresh, b)
        world.now += 0.018
        world.send(fresh, A_TO_B)
    assert b.interface.drops[Drop.HANDSHAKE_FLOOD] == 1


def test_under_load_a_client_is_asked_for_a_cookie_and_then_served():
    world, a, b = pair()
    flood = world.node(9)
    world.join(flood, b)
    world.tamper = lambda _s, to, data: [] if to == flood.address else [data]
    world.send(flood, udp4("10.0.0.9", "10.0.0.2"))
    initiation = world.log[0][2]
    for _ in range(300):
        world.inject(("203.0.113.66", 666), b.address, initiation)
    assert b.interface.drops[Drop.COOKIE_REQUIRED] > 100
    replies = [d for _, to, d in world.log if to == ("203.0.113.66", 666)]
    assert {d[0] for d in replies} == {COOKIE_REPLY}
    assert all(len(d) <= len(initiation) for d in replies)
    at = len(world.log)
    world.send(a, A_TO_B)
    assert kinds(world, at) == [INITIATION, COOKIE_REPLY]
    for _ in range(50):
        world.now += 0.1
        world.inject(("203.0.113.66", 666), b.address, initiation * 1)
        for _ in range(60):
            world.inject(("203.0.113.66", 666), b.address, initiation)
    world.advance(1)
    assert b.received == [A_TO_B]


def test_a_known_sessions_traffic_is_never_charged_for_a_flood():
    world, a, b = pair()
    world.send(a, A_TO_B)
    initiation = world.log[0][2]
    for n in range(1000):
        world.inject((f"203.0.113.{n % 250}", 666), b.address, initiation)
        world.send(a, A_TO_B)
    assert len(b.received) == 1001


def test_a_new_private_key_ends_all_sessions_and_the_next_handshake_uses_it():
    world, a, b = pair()
    world.send(a, A_TO_B)
    b.interface.configure(InterfaceConfig(private_key=bytes([7]) * 32), now=world.now)
    world.send(a, A_TO_B)
    assert len(b.received) == 1
    a.interface.configure(
        InterfaceConfig(replace_peers=True, peers=(PeerConfig(public_key(bytes([7]) * 32), endpoint=b.address),)),
        now=world.now,
    )
    assert [p.public_key for p in a.interface.status(now=world.now).peers] == [public_key(bytes([7]) * 32)]


def test_the_same_inputs_give_the_same_datagrams_byte_for_byte():
    logs = []
    for _ in range(2):
        world, a, b = pair()
        world.send(a, A_TO_B)
        world.send(b, B_TO_A)
        world.advance(200)
        logs.append(world.log)
    assert logs[0] == logs[1]


def test_no_key_and_nonce_are_ever_used_twice():
    world, a, b = pair()
    for _ in range(300):
        world.send(a, A_TO_B)
        world.send(b, B_TO_A)
        world.advance(3)
    transports = [d for _, _, d in world.log if d[0] == TRANSPORT]
    assert len({d[4:16] for d in transports}) == len(transports) > 600


def test_frames_without_a_peer_are_counted():
    world, a, _ = pair()
    a.interface.send(memoryview(PLAIN + udp4("10.0.0.1", "10.9.9.9")), now=world.now)
    a.interface.send(memoryview(PLAIN + b"\xff" * 40), now=world.now)
    assert a.interface.drops[Drop.NO_ROUTE] == 1
    assert a.interface.drops[Drop.MALFORMED_PACKET] == 1
