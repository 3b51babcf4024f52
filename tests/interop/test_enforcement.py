"""Permits and leases on a live tunnel, set through the real socket and judged by packets of a stock wireguard-go."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator

import pytest

from gateway.errors import HostError
from tests.interop.ends import PORT, SOCKETS, End, pair, uapi, until, wg

WEB, OTHER = 8080, 9090


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    """A stock client and our gateway, with two echo servers behind the gateway."""
    with pair("wireguard-go", "sallyport") as (client, gateway), contextlib.ExitStack() as stack:
        client.ping(gateway, 4)
        with gateway.host.entered():
            for port in (WEB, OTHER):
                for family, address in ((socket.AF_INET, gateway.inner(4)), (socket.AF_INET6, gateway.inner(6))):
                    server = stack.enter_context(socket.create_server((address, port), family=family))
                    threading.Thread(target=echo, args=(server,), daemon=True).start()
        yield client, gateway


def echo(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            connection.sendall(data)


def connect(client: End, gateway: End, port: int, *, version: int = 4, timeout: float = 2.0) -> socket.socket:
    with client.host.entered():
        return socket.create_connection((gateway.inner(version), port), timeout=timeout)


def exchange(flow: socket.socket) -> bytes:
    """One byte there, and what comes back."""
    flow.sendall(b"x")
    return flow.recv(1)


def passes(flow: socket.socket, *, timeout: float = 3.0) -> bool:
    """Whether an established flow carries a byte there and back."""
    flow.settimeout(timeout)
    try:
        return exchange(flow) == b"x"
    except OSError:
        return False


def permit(gateway: End, client: End, *permits: str, more: str = "") -> str:
    key = b64decode(client.public_key).hex()
    lines = "".join(f"permit={text}\n" for text in permits)
    return uapi(gateway.interface, f"set=1\npublic_key={key}\nupdate_only=true\nreplace_permits=true\n{lines}{more}\n")


def test_without_a_permit_key_a_peer_behaves_like_stock_wireguard(ends: tuple[End, End]) -> None:
    with connect(*ends, WEB) as web, connect(*ends, OTHER, version=6) as other:
        assert passes(web)
        assert passes(other)


@pytest.mark.parametrize("version", [4, 6])
def test_a_permit_that_goes_cuts_the_established_flow_and_no_other(ends: tuple[End, End], version: int) -> None:
    client, gateway = ends
    address = gateway.inner(version)
    assert permit(gateway, client, f"{address} tcp/{WEB}", f"{address} tcp/{OTHER}") == "errno=0\n\n"
    with (
        connect(client, gateway, WEB, version=version) as web,
        connect(client, gateway, OTHER, version=version) as other,
    ):
        assert passes(web)
        assert passes(other)
        permit(gateway, client, f"{address} tcp/{OTHER}")
        with pytest.raises(ConnectionResetError):
            exchange(web)
        assert passes(other)
        with pytest.raises(OSError, match=r"No route to host|Permission denied"):
            connect(client, gateway, WEB, version=version)
        permit(gateway, client, f"{address} tcp/{WEB}", f"{address} tcp/{OTHER}")
        with connect(client, gateway, WEB, version=version) as again:
            assert passes(again)


def test_replace_permits_alone_means_that_nothing_is_reachable(ends: tuple[End, End]) -> None:
    client, gateway = ends
    permit(gateway, client)
    for version in (4, 6):
        with pytest.raises(HostError):
            client.ping(gateway, version, count=2, within=1)


def test_what_the_gateways_side_begins_is_refused_too(ends: tuple[End, End]) -> None:
    client, gateway = ends
    with client.host.entered():
        server = socket.create_server((client.inner(4), 6000))
    with server, gateway.host.entered():
        socket.create_connection((client.inner(4), 6000), timeout=2).close()
        permit(gateway, client, f"{gateway.inner(4)} tcp/{WEB}")
        with pytest.raises(OSError, match="No route to host"):
            socket.create_connection((client.inner(4), 6000), timeout=5)


def test_a_lease_that_is_not_renewed_ends_by_itself_and_one_that_is_does_not(ends: tuple[End, End]) -> None:
    client, gateway = ends
    key = b64decode(client.public_key).hex()
    renewal = f"set=1\npublic_key={key}\nupdate_only=true\nlease_ms=1500\n\n"
    uapi(gateway.interface, renewal)
    with connect(client, gateway, WEB) as flow:
        for _ in range(3):
            time.sleep(0.7)
            uapi(gateway.interface, renewal)
            assert passes(flow)
        until(lambda: not passes(flow, timeout=0.5), "the end of the lease")
        assert "lease_ms=0\n" in uapi(gateway.interface, "get=1\n\n")
        uapi(gateway.interface, renewal)
        assert passes(flow, timeout=20.0), "a new lease opens the way again"


def test_a_lease_of_zero_ends_access_at_once(ends: tuple[End, End]) -> None:
    client, gateway = ends
    key = b64decode(client.public_key).hex()
    with connect(client, gateway, WEB) as flow:
        assert passes(flow)
        uapi(gateway.interface, f"set=1\npublic_key={key}\nlease_ms=0\n\n")
        assert not passes(flow, timeout=1.0)


def test_refused_packets_are_counted_under_their_reason(ends: tuple[End, End]) -> None:
    client, gateway = ends
    permit(gateway, client)
    command = client.host.command("ping", "-c", "5", "-i", "0.1", "-W", "1", gateway.inner(4))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    counted = dict(line.partition("=")[::2] for line in uapi(gateway.interface, "get=1\n\n").splitlines())
    assert int(counted["drop_not_permitted"]) >= 5, counted


def test_a_removed_peer_is_not_answered_any_more(ends: tuple[End, End]) -> None:
    client, gateway = ends
    key = b64decode(client.public_key).hex()
    with connect(client, gateway, WEB) as flow:
        uapi(gateway.interface, f"set=1\npublic_key={key}\nremove=true\n\n")
        assert not passes(flow, timeout=1.0)
    before = client.latest_handshake
    with pytest.raises(HostError):
        client.ping(gateway, 4, count=1, within=7)
    assert client.latest_handshake == before, "the handshake with the old key is ignored"


def test_a_gateway_that_was_stopped_past_the_lease_forwards_nothing_on_waking(ends: tuple[End, End]) -> None:
    """The lease runs on CLOCK_BOOTTIME, and the clock is looked at for every packet that waited in the sockets."""
    client, gateway = ends
    with gateway.host.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((gateway.inner(4), 5353))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client.host.entered():
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, sender, there:
        server.setblocking(False)
        there.sendto(b"before", (gateway.inner(4), 5353))
        until(lambda: received(server) == [b"before"], "a packet before")
        key = b64decode(client.public_key).hex()
        uapi(gateway.interface, f"set=1\npublic_key={key}\nupdate_only=true\nlease_ms=700\n\n")
        assert gateway.process is not None
        gateway.process.signal(signal.SIGSTOP)
        try:
            for number in range(200):
                there.sendto(b"during", (gateway.inner(4), 5353))
                sender.sendto(b"back", (client.inner(4), 5353))
                if number % 50 == 0:
                    time.sleep(0.3)
        finally:
            gateway.process.signal(signal.SIGCONT)
        until(lambda: "lease_ms=0\n" in uapi(gateway.interface, "get=1\n\n"), "the end of the lease")
        until(lambda: sum(drops(gateway).values()) >= 350, "the packets of both sides, refused")
        assert set(drops(gateway)) <= {"lease_ended", "unknown_index", "no_route"}, (
            "the lease is over, then the keys are forgotten"
        )
        assert received(server) == []


def received(server: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(server.recv(100))
    return found


def drops(gateway: End) -> dict[str, int]:
    lines = uapi(gateway.interface, "get=1\n\n").partition("public_key=")[0].splitlines()
    return {key.removeprefix("drop_"): int(n) for key, _, n in (line.partition("=") for line in lines) if key[:5] == "drop_"}  # fmt: skip


@pytest.mark.parametrize("wide", ["0.0.0.0/0", "10.0.0.0/8"])
def test_a_wide_permit_does_not_mean_the_gateway_itself(ends: tuple[End, End], wide: str) -> None:
    client, gateway = ends
    gateway.host.ip("address", "add", "10.55.0.1/24", "dev", "lo")
    wg("set", client.interface, "peer", gateway.public_key, "allowed-ips", "0.0.0.0/0")
    client.host.ip("route", "add", "10.55.0.0/24", "dev", client.interface)
    with gateway.host.entered():
        own = socket.create_server(("10.55.0.1", WEB))
    with own, client.host.entered():
        permit(gateway, client, wide)
        for address in (gateway.inner(4), "10.55.0.1"):
            with pytest.raises(OSError, match="No route to host"):
                socket.create_connection((address, WEB), timeout=5)
        permit(gateway, client, wide, f"10.55.0.1/32 tcp/{WEB}")
        socket.create_connection(("10.55.0.1", WEB), timeout=5).close()


def test_a_captured_initiation_is_refused_after_a_restart_of_the_process() -> None:
    with pair("wireguard-go", "sallyport") as (client, gateway), contextlib.ExitStack() as stack:
        with gateway.host.entered():
            wire = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)))
            wire.bind(("wire", 0x0800))
            stranger = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        wire.settimeout(10)
        client.ping(gateway, 4, count=1)
        initiation = next(p[28:] for p in iter(lambda: wire.recv(2048), b"") if len(p) == 176 and p[28] == 1)
        assert gateway.process is not None
        gateway.process.kill()
        until(lambda: gateway.process is not None and gateway.process.exit_status() is not None, "its end")
        (SOCKETS / f"{gateway.interface}.sock").unlink()
        gateway.start(stack)
        gateway.configure(client, endpoint=False)
        stranger.settimeout(0.5)
        stranger.sendto(initiation, ("127.0.0.1", PORT))
        with pytest.raises(TimeoutError):
            stranger.recv(2048)
        assert drops(gateway) == {"handshake_replayed": 1}
        _, _, endpoint, _, handshake, rx, tx, _ = gateway.dump()
        assert (endpoint, handshake, rx, tx) == ("(none)", "0", "0", "0")


def test_watchers_and_a_look_tell_every_refusal_by_its_reason_for_the_peer_and_in_total(ends: tuple[End, End]) -> None:
    client, gateway = ends
    permit(gateway, client)
    with socket.socket(socket.AF_UNIX) as watcher, watcher.makefile() as lines:
        watcher.connect(str(SOCKETS / f"{gateway.interface}.sock"))
        watcher.settimeout(10)
        watcher.sendall(b"watch=1\n\n")
        client.host.run("sh", "-c", f"ping -c 3 -i 0.1 -W 1 {gateway.inner(4)} || true")
        key = b64decode(client.public_key).hex()
        told = next(line for line in lines if line.startswith("event=drops") and "drop_not_permitted=3" in line)
        assert told.startswith(f"event=drops public_key={key} ")
        total = next(line for line in lines if line.startswith("event=counters"))
        assert " drop_not_permitted=3" in total
    whole, _, of_peer = uapi(gateway.interface, "get=1\n\n").partition("public_key=")
    assert "drop_not_permitted=3\n" in whole
    assert "drop_not_permitted=3\n" in of_peer
