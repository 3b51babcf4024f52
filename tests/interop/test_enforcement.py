"""Permits and leases on a live tunnel, set through the real socket and judged by packets of a stock wireguard-go."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator

import pytest

from gateway.errors import HostError
from tests.interop.ends import End, pair, uapi, until

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
