"""What the kernel's own namespace script puts a WireGuard through, as scenarios of ours (SECURITY.md section 5 lists them)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Iterator

import pytest

from gateway.demo import namespaces
from gateway.demo.namespaces import Host
from gateway.errors import HostError
from tests.interop.ends import PORT, SOCKETS, End, pair, uapi, until, wg
from tests.unit.wireguard.test_primitives import LOW_ORDER

INITIATION, RESPONSE, OVERHEAD = 148, 92, 32
PAYLOAD = 1000
DATAGRAM = OVERHEAD + 1040
"""A ping of 1000 bytes is a packet of 1028, padded to a multiple of 16."""


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    with pair("sallyport", "sallyport") as made:
        made[0].ping(made[1], 4, count=1)
        yield made


def counted(end: End) -> tuple[int, int]:
    """Received and sent bytes."""
    _, _, _, _, _, received, sent, _ = end.dump()
    return int(received), int(sent)


def drops(end: End) -> dict[str, int]:
    """The interface's, without the peers'."""
    told = uapi(end.interface, "get=1\n\n").partition("public_key=")[0].splitlines()
    return {
        key.removeprefix("drop_"): int(count)
        for key, _, count in (line.partition("=") for line in told)
        if key.startswith("drop_")
    }


def unreachable(one: End, other: End, version: int = 4, *, within: int = 1) -> None:
    with pytest.raises(HostError):
        one.ping(other, version, count=1, within=within)


def test_every_byte_is_counted_and_no_other() -> None:
    with pair("sallyport", "sallyport") as (one, other):
        one.host.run("ping", "-c", "10", "-i", "0.02", "-s", str(PAYLOAD), "-w", "20", other.inner(4))
        traffic = 10 * DATAGRAM
        assert counted(one) == (RESPONSE + traffic, INITIATION + traffic)
        assert counted(other) == (INITIATION + traffic, RESPONSE + traffic)


@pytest.mark.parametrize("version", [4, 6])
def test_fifty_tcp_streams_at_once_arrive_whole(ends: tuple[End, End], version: int) -> None:
    one, other = ends
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with contextlib.ExitStack() as stack:
        with other.host.entered():
            server = stack.enter_context(socket.create_server((other.inner(version), 7000), family=family, backlog=64))
        threading.Thread(target=_echo_all, args=(server, 50), daemon=True).start()
        with one.host.entered():
            clients = [
                stack.enter_context(socket.create_connection((other.inner(version), 7000), timeout=20))
                for _ in range(50)
            ]
        contents = [os.urandom(60_000) for _ in clients]
        for client, content in zip(clients, contents, strict=True):
            client.settimeout(60)
            threading.Thread(target=client.sendall, args=(content,), daemon=True).start()
        for client, content in zip(clients, contents, strict=True):
            with client.makefile("rb") as answer:
                assert answer.read(len(content)) == content


def _echo_all(server: socket.socket, count: int) -> None:
    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    for _ in range(count):
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()


def test_padding_never_exceeds_the_mtu_that_the_interface_has_now(ends: tuple[End, End]) -> None:
    """A tunnel of 1300 on a route of 1360: 12 bytes of padding more and every full packet would be fragmented."""
    one, other = ends
    for end in ends:
        end.host.ip("link", "set", end.interface, "mtu", "1300")
        end.host.ip("link", "set", "wire", "mtu", str(1300 + OVERHEAD + 28))
    until(lambda: _ping_costs(one, other, 1272) == OVERHEAD + 1300, "padding up to the new MTU and not beyond")
    assert _ping_costs(one, other, 1271) == OVERHEAD + 1300, "1299 bytes are padded by the one that is left"
    assert _ping_costs(one, other, 1000) == DATAGRAM
    with pytest.raises(HostError):
        one.host.run("ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1273", other.inner(4))


def _ping_costs(one: End, other: End, size: int) -> int:
    """Bytes of one ping on the wire, which must not fragment it inside."""
    before = counted(one)[1]
    one.host.run("ping", "-c", "1", "-w", "5", "-M", "do", "-s", str(size), other.inner(4))
    return counted(one)[1] - before


def test_both_ends_are_followed_when_they_move_within_and_between_the_families(ends: tuple[End, End]) -> None:
    one, other = ends
    one.host.ip("address", "del", f"{one.outer(4)}/24", "dev", "wire")
    one.host.ip("address", "add", "192.0.2.77/24", "dev", "wire")
    one.ping(other, 4, count=1)
    assert other.dump()[2] == f"192.0.2.77:{PORT}"
    other.ping(one, 4, count=1)

    wg("set", one.interface, "peer", other.public_key, "endpoint", f"[{other.outer(6)}]:{PORT}")
    one.ping(other, 6, count=1)
    assert other.dump()[2] == f"[{one.outer(6)}]:{PORT}"

    other.host.ip("address", "add", "2001:db8::99/64", "dev", "wire", "nodad")
    other.host.ip("address", "del", f"{other.outer(6)}/64", "dev", "wire")
    other.ping(one, 4, count=1)
    assert one.dump()[2] == f"[2001:db8::99]:{PORT}"


@pytest.mark.parametrize("version", [4, 6])
def test_answers_come_from_the_address_that_was_reached_for_as_long_as_it_is_there(version: int) -> None:
    second, long, shown = {4: ("192.0.2.22", 24, "{}"), 6: ("2001:db8::22", 64, "[{}]")}[version]
    with pair("wireguard-go", "sallyport", version=version) as (one, other):
        other.host.ip("address", "add", f"{second}/{long}", "dev", "wire", *(["nodad"] if version == 6 else []))
        for address in (second, other.outer(version), second):
            wg("set", one.interface, "peer", other.public_key, "endpoint", f"{shown.format(address)}:{PORT}")
            one.ping(other, 4)
            other.ping(one, 4)
            assert one.dump()[2] == f"{shown.format(address)}:{PORT}", "our answers have not moved it elsewhere"
        other.host.ip("address", "del", f"{second}/{long}", "dev", "wire")
        other.ping(one, 4, count=1)
        assert one.dump()[2] == f"{shown.format(other.outer(version))}:{PORT}"


def test_a_link_local_endpoint_is_named_with_its_interface(ends: tuple[End, End]) -> None:
    one, other = ends
    told = other.host.run("ip", "-o", "-6", "address", "show", "dev", "wire", "scope", "link")
    address = told.split()[3].partition("/")[0]
    wg("set", one.interface, "peer", other.public_key, "endpoint", f"[{address}%lo]:{PORT}")
    key = b64decode(other.public_key).hex()
    refused = uapi(one.interface, f"set=1\npublic_key={key}\nendpoint=[{address}%nobody]:{PORT}\n\n")
    assert refused == f"errno={errno.ENODEV}\n\n"
    index = one.host.run("cat", "/sys/class/net/wire/ifindex").strip()
    assert uapi(one.interface, f"set=1\npublic_key={key}\nendpoint=[{address}%wire]:{PORT}\n\n") == "errno=0\n\n"
    assert f"endpoint=[{address}%{index}]:{PORT}\n" in uapi(one.interface, "get=1\n\n")
    one.ping(other, 4, count=1)
    assert other.dump()[2].startswith("[fe80::")


@pytest.mark.parametrize("version", [4, 6])
def test_a_stolen_address_takes_the_right_to_send_from_it_along(ends: tuple[End, End], version: int) -> None:
    one, other = ends
    one.ping(other, version, count=1)
    thief = wg("pubkey", text=wg("genkey")).strip()
    address = f"{one.inner(version)}/{32 if version == 4 else 128}"
    wg("set", other.interface, "peer", thief, "allowed-ips", address)
    unreachable(one, other, version)
    assert drops(other)["source_not_allowed"] >= 1
    wg("set", other.interface, "peer", one.public_key, "allowed-ips", f"{one.inner(4)}/32,{one.inner(6)}/128")
    one.ping(other, version, count=1)


def test_after_a_change_of_key_the_first_packet_shakes_hands_at_once(ends: tuple[End, End]) -> None:
    one, other = ends
    for _ in range(3):
        before, one.private_key = one.public_key, wg("genkey").strip()
        wg("set", other.interface, "peer", before, "remove")
        other.configure(one, endpoint=False)
        wg("set", one.interface, "private-key", "/dev/stdin", text=one.private_key)
        one.ping(other, 4, count=1, within=2)


def test_a_tunnel_runs_in_a_tunnel(ends: tuple[End, End]) -> None:
    with contextlib.ExitStack() as stack:
        inner = [End(end.host, end.number, f"{end.interface}i", "sallyport") for end in ends]
        for end in inner:
            end.start(stack)
        for end, peer, outer in zip(inner, inner[::-1], ends[::-1], strict=True):
            wg("set", end.interface, "private-key", "/dev/stdin", "listen-port", "51900", text=end.private_key)
            where = ["endpoint", f"{outer.inner(4)}:51900"]
            wg("set", end.interface, "peer", peer.public_key, *where, "allowed-ips", f"10.77.0.{peer.number}/32")
            end.host.ip("address", "add", f"10.77.0.{end.number}/24", "dev", end.interface)
            end.host.ip("link", "set", end.interface, "mtu", "1360", "up")
        ends[0].host.run("ping", "-c", "5", "-i", "0.05", "-w", "10", "-M", "do", "-s", "1332", "10.77.0.2")
        assert counted(ends[0])[1] > 5 * 1360


def test_a_routing_loop_ends_after_one_turn(ends: tuple[End, End]) -> None:
    one, other = ends
    wg("set", one.interface, "peer", other.public_key, "allowed-ips", "0.0.0.0/0")
    before = counted(one)[1]
    one.host.ip("route", "add", f"{other.outer(4)}/32", "dev", one.interface)
    with pytest.raises(HostError):
        one.host.run("ping", "-c", "3", "-i", "0.2", "-w", "1", "-s", "1300", other.inner(4))
    assert counted(one)[1] - before < 70_000
    assert drops(one)["routing_loop"] >= 3
    one.host.ip("route", "del", f"{other.outer(4)}/32", "dev", one.interface)
    one.ping(other, 4, count=1)


@pytest.fixture
def behind_nat() -> Iterator[tuple[End, End]]:
    """A client behind a router that forgets a silent flow after two seconds, and a server in front of it."""
    with contextlib.ExitStack() as stack:
        mark = f"{namespaces.owner_mark()}-nat"
        hosts = [Host.create(role, mark=mark) for role in ("inside", "router", "outside")]
        for host in hosts:
            stack.callback(host.remove)
        inside, router, outside = hosts
        for host, address in ((inside, "192.168.7.2/24"), (outside, "192.0.2.2/24")):
            namespaces.ip(
                "link",
                "add",
                "wire",
                "netns",
                host.name,
                "type",
                "veth",
                "peer",
                "name",
                host.role,
                "netns",
                router.name,
            )
            host.ip("address", "add", address, "dev", "wire")
            host.ip("link", "set", "wire", "up")
            router.ip("link", "set", host.role, "up")
        router.ip("address", "add", "192.168.7.1/24", "dev", "inside")
        router.ip("address", "add", "192.0.2.1/24", "dev", "outside")
        inside.ip("route", "add", "default", "via", "192.168.7.1")
        nat = "table ip n { chain c { type nat hook postrouting priority 100; oifname outside masquerade; }; }"
        router.run("nft", "-f", "/dev/stdin", text=nat)
        for setting in (
            "ip_forward=1",
            "netfilter/nf_conntrack_udp_timeout=2",
            "netfilter/nf_conntrack_udp_timeout_stream=2",
        ):
            name, _, value = setting.partition("=")
            folder = "net" if "/" in name else "net/ipv4"
            router.run("sh", "-c", f"echo {value} > /proc/sys/{folder}/{name}")
        client, server = (End(h, n, f"wg{os.getpid()}n{n}", "sallyport") for n, h in ((1, inside), (2, outside)))
        for end in (client, server):
            end.start(stack)
        client.configure(server)
        server.configure(client, endpoint=False)
        for end in (client, server):
            end.address()
        yield client, server


def test_behind_a_nat_that_forgets_a_persistent_keepalive_keeps_the_way_open(behind_nat: tuple[End, End]) -> None:
    client, server = behind_nat
    client.ping(server, 4, count=1)
    assert server.dump()[2].startswith("192.0.2.1:"), "the router's address"
    time.sleep(3.5)
    unreachable(server, client)
    wg("set", client.interface, "peer", server.public_key, "persistent-keepalive", "1")
    until(lambda: counted(server)[0] > 0 and _reachable(server, client), "the way back")
    time.sleep(3.5)
    server.ping(client, 4, count=1, within=1)


def _reachable(one: End, other: End) -> bool:
    try:
        one.ping(other, 4, count=1, within=1)
    except HostError:
        return False
    return True


def test_130561_allowed_ips_are_one_configuration(ends: tuple[End, End]) -> None:
    one, other = ends
    networks = [f"{a}.{b}.0.0/20" for a in range(20, 224) for b in range(256)]
    networks += [f"fd{a:02x}:{b:x}::/32" for a in range(1, 256) for b in range(256)]
    networks += [f"10.{a}.{b}.0/24" for a in range(60) for b in range(256)]
    wanted = sorted(networks[:130_561])
    peer = wg("pubkey", text=wg("genkey")).strip()
    lines = "\n".join(f"AllowedIPs = {', '.join(wanted[at : at + 1000])}" for at in range(0, len(wanted), 1000))
    wg("addconf", one.interface, "/dev/stdin", text=f"[Peer]\nPublicKey = {peer}\n{lines}\n")
    told = dict(line.split("\t") for line in wg("show", one.interface, "allowed-ips").splitlines())
    assert len(told[peer].split(" ")) == 130_561
    one.ping(other, 4, count=1)
    wg("set", one.interface, "peer", peer, "remove")
    one.ping(other, 4, count=1)


def datagrams_sent(host: Host) -> int:
    """UDP datagrams over IPv4 that have left it."""
    names, values = (line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:"))
    return int(values[names.index("OutDatagrams")])


def test_peers_of_low_order_never_cause_a_packet(ends: tuple[End, End]) -> None:
    one, other = ends
    before = datagrams_sent(one.host)
    wg("set", other.interface, "peer", one.public_key, "remove")
    wg("set", one.interface, "peer", other.public_key, "remove")
    for key in LOW_ORDER:
        lines = f"public_key={key.hex()}\nendpoint={other.outer(4)}:{PORT}\npersistent_keepalive_interval=1\n"
        assert uapi(one.interface, f"set=1\n{lines}allowed_ip={other.inner(4)}/32\n\n") == "errno=0\n\n"
    unreachable(one, other, within=2)
    peers = uapi(one.interface, "get=1\n\n")
    assert peers.count("public_key=") >= 1
    assert peers.count("tx_bytes=0\n") == peers.count("public_key=")
    assert datagrams_sent(one.host) == before


def test_two_hundred_changes_of_configuration_cost_no_packet(ends: tuple[End, End]) -> None:
    one, other = ends
    stop, failures = threading.Event(), []

    def reconfigure() -> None:
        for number in range(200):
            if stop.is_set():
                return
            try:
                keepalive = ("off", "25")[number % 2]
                change = ["persistent-keepalive", keepalive, "allowed-ips", f"{other.inner(4)}/32,{other.inner(6)}/128"]
                wg("set", one.interface, "peer", other.public_key, *change)
            except AssertionError as error:
                failures.append(error)

    thread = threading.Thread(target=reconfigure)
    thread.start()
    try:
        summary = one.host.run("ping", "-q", "-c", "200", "-i", "0.005", "-w", "20", other.inner(4))
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert " 0% packet loss" in summary, summary


def test_the_interface_may_go_down_and_up_again(ends: tuple[End, End]) -> None:
    one, other = ends
    one.host.ip("link", "set", one.interface, "down")
    unreachable(other, one)
    one.host.ip("link", "set", one.interface, "up")
    one.ping(other, 4, count=1)
    other.ping(one, 4, count=1)


def test_nothing_is_left_behind() -> None:
    with pair("sallyport", "sallyport") as (one, other):
        one.ping(other, 4, count=1)
        for end in (one, other):
            assert end.process is not None
            assert end.state is not None
            end.process.end()
            assert end.process.exit_status() == 0, end.process.tail()
            assert not (SOCKETS / f"{end.interface}.sock").exists()
            assert end.interface not in end.host.ip("-o", "link")
            assert namespaces.ip("netns", "pids", end.host.name) == ""
            assert [each.name for each in (end.state / "tunnel").iterdir()] == (
                [f"{end.interface}.timestamps"] if end is other else []
            ), "the responder keeps who shook hands with it, the initiator has nothing to keep"
