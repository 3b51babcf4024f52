"""What must hold for any input: hostile bytes never raise, super-packets survive the journey, tables equal their models."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.packet import ip
from gateway.packet.flows import Flows
from gateway.packet.offload import GSO_TCPV4, GSO_TCPV6, GSO_UDP, NEEDS_CHECKSUM, VIRTIO, merge, split
from gateway.packet.permits import Permit, Permits
from gateway.packet.prefixes import PrefixTable
from gateway.wireguard.keypair import ReplayWindow
from gateway.wireguard.spec import WINDOW
from gateway.wireguard.uapi import UapiError, parse_get, parse_set
from tests.sim.wire import pair, tcp, udp4, udp6

STRANGER = ("203.0.113.66", 666)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(st.binary(max_size=2000), st.integers(0, 70_000))
def test_random_trains_never_raise_and_are_always_counted(data, segment):
    world, a, b = pair()
    world.send(a, udp4("10.0.0.1", "10.0.0.2"))
    before = sum(b.interface.drops.values())
    frames = b.interface.receive(memoryview(data), segment, STRANGER, now=world.now)
    assert frames == []
    assert sum(b.interface.drops.values()) > before or not data


@SLOW
@given(st.data())
def test_datagrams_changed_on_the_way_never_raise_and_never_arrive(data):
    world, a, b = pair()
    world.send(a, udp4("10.0.0.1", "10.0.0.2"))
    kind = data.draw(st.sampled_from([0, 1, 2]))
    original = world.log[kind][2]
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(original)))
    for node in (a, b):
        node.received.clear()
        for hostile in (bytes(changed), original[:cut], original + bytes(data.draw(st.integers(1, 40)))):
            world.inject(STRANGER, node.address, hostile)
        assert node.received == []


@SLOW
@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_random_inner_packets_from_a_real_peer_never_raise(data, first, protocol):
    world, a, b = pair()
    packet = bytearray(udp4("10.0.0.1", "10.0.0.2", data))
    packet[0], packet[9] = first, protocol
    world.send(a, bytes(packet))
    world.send(a, data)
    assert all(ip.parse(received) is not None for received in b.received)


@given(st.binary(max_size=300))
def test_random_frames_never_raise_in_split(data):
    for parts in split(data):
        assert b"".join(parts)


@given(
    st.sampled_from(["tcp4", "tcp6", "udp4", "udp6"]), st.binary(min_size=1, max_size=6000), st.integers(1, 1500), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_a_super_packet_that_is_split_and_merged_is_the_same_train_again(kind, payload, size, sequence):
    addresses = ("10.0.0.1", "10.0.0.2") if kind.endswith("4") else ("fd00::1", "fd00::2")
    start = 20 if kind.endswith("4") else 40
    if kind.startswith("tcp"):
        whole, gso, header = tcp(*addresses, payload, sequence=sequence), GSO_TCPV4 if start == 20 else GSO_TCPV6, 20
    else:
        whole, gso, header = (udp4 if start == 20 else udp6)(*addresses, payload), GSO_UDP, 8
    field = 16 if header == 20 else 6
    frame = VIRTIO.pack(NEEDS_CHECKSUM, gso, start + header, size, start, field) + whole
    packets = [b"".join(parts) for parts in split(frame)]
    assert b"".join(p[start + header :] for p in packets) == payload
    again = [b"".join(parts) for f in merge(packets) for parts in split(b"".join(f.parts))]
    assert [p[start:] for p in again] == [p[start:] for p in packets]


@given(st.lists(st.binary(min_size=20, max_size=120), max_size=8))
def test_merging_rubbish_gives_it_back_in_order(packets):
    assert [b"".join(f.parts[1:]) for f in merge(packets)] == packets


@given(st.lists(st.one_of(st.integers(0, 20_000), st.integers(0, 50)), max_size=300))
def test_the_replay_window_equals_a_set(counters):
    window, seen, highest = ReplayWindow(), set(), -1
    for counter in counters:
        expected = counter not in seen and counter >= highest - WINDOW
        assert window.fresh(counter) is expected
        assert window.accept(counter) is expected
        seen.add(counter)
        highest = max(highest, counter)


networks = st.builds(
    lambda number, length: ip_network((number << 24 & 0xFFFFFFFF, length), strict=False), st.integers(0, 255), st.integers(0, 32)
)  # fmt: skip


@given(st.lists(st.tuples(networks, st.integers()), max_size=30), st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_the_longest_prefix_is_that_of_a_linear_search(entries, addresses):
    table, model = PrefixTable(), {}
    for network, value in entries:
        table[network] = value
        model[network] = value
    for network in list(model)[::2]:
        del table[network]
        del model[network]
    for address in addresses:
        holding = [n for n in model if int(n.network_address) == address & int(n.netmask)]
        expected = model[max(holding, key=lambda n: n.prefixlen)] if holding else None
        assert table.longest(address.to_bytes(4, "big")) == expected


@given(st.lists(st.sampled_from(["10.0.0.2/32 udp", "10.0.0.0/24", "10.0.0.2/32 tcp/443"])), st.binary(max_size=60))
def test_removing_a_permit_never_adds_access(texts, payload):
    packet = udp4("10.0.0.1", "10.0.0.2", payload)
    header = ip.parse(packet)
    permits = [Permit.parse(text) for text in texts]
    for less in range(len(permits)):
        if Flows(Permits(permits[:less])).from_peer(packet, header, now=0.0) is None:
            assert Flows(Permits(permits)).from_peer(packet, header, now=0.0) is None


@given(st.lists(st.text(max_size=60), max_size=20))
def test_random_text_is_a_configuration_or_a_refusal(lines):
    for read in (parse_set, parse_get):
        try:
            read(lines)
        except UapiError:
            continue
