"""The way out to the provider: which addresses it refuses, what it never follows, how much and how long it listens."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest

from gateway.errors import ProviderError
from gateway.identity.http import LARGEST_ANSWER, LONGEST_ANSWER, Bearer, Egress
from tests.sim.provider import ADDRESS

URL = "https://login.example/keys"


class Wire(httpx2.BaseTransport):
    """Records what would have left, and answers the same to everything."""

    def __init__(self, answer: Callable[[], httpx2.Response] = lambda: httpx2.Response(200, json={"a": 1})) -> None:
        self.answer = answer
        self.sent: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        return self.answer()


class Stream(httpx2.SyncByteStream):
    """A body that comes piece by piece; counts the pieces that somebody took."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece

    def close(self) -> None:
        self.closed = True


def egress(wire: Wire, *addresses: str, **more: Any) -> Egress:
    found = [ip_address(address) for address in addresses or (str(ADDRESS),)]
    return Egress(more.pop("allow_loopback", False), resolve=lambda _host, _port: found, wire=wire, **more)


def refused(way_out: Egress, wire: Wire, url: str = URL) -> str:
    """The refusal, with nothing sent."""
    with pytest.raises(ProviderError) as refusal:
        way_out.get_json(url)
    assert wire.sent == []
    assert url in str(refusal.value)
    return str(refusal.value)


# addresses

NO_PROVIDER = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:db8::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)


@pytest.mark.parametrize("address", NO_PROVIDER)
def test_an_address_inside_is_never_asked(address: str) -> None:
    wire = Wire()
    assert "no provider may have" in refused(egress(wire, address), wire)


@pytest.mark.parametrize("address", NO_PROVIDER)
def test_one_address_inside_spoils_the_name(address: str) -> None:
    wire = Wire()
    refused(egress(wire, str(ADDRESS), address), wire)
    refused(egress(wire, address, str(ADDRESS)), wire)


@pytest.mark.parametrize("address", ["5.6.7.8", "2606:4700::1", "::ffff:5.6.7.8", "64:ff9b::5.6.7.8"])
def test_a_public_address_is_asked(address: str) -> None:
    wire = Wire()
    assert egress(wire, address).get_json(URL).members == {"a": 1}
    assert ip_address(wire.sent[0].url.host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ],
)
def test_an_address_in_disguise_is_recognised(host: str) -> None:
    """By the system's own resolver, which needs no network for numbers."""
    wire = Wire()
    refused(Egress(False, wire=wire), wire, f"https://{host}/keys")
    refused(Egress(False, wire=wire), wire, f"http://{host}:8080/keys")


def test_a_name_is_resolved_once_and_the_connection_goes_where_was_looked() -> None:
    """DNS rebinding: the second answer would be another one."""
    answers = iter([[ADDRESS], [ip_address("127.0.0.1")]])
    wire = Wire()
    Egress(False, resolve=lambda _host, _port: next(answers), wire=wire).get_json(URL)
    request = wire.sent[0]
    assert request.url == f"https://{ADDRESS}/keys"
    assert request.headers["host"] == "login.example"
    assert request.extensions["sni_hostname"] == "login.example"
    assert len(list(answers)) == 1


@pytest.mark.parametrize(("url", "port"), [(URL, 443), ("https://login.example:8443/", 8443)])
def test_the_resolver_is_asked_for_the_name_and_the_port(url: str, port: int) -> None:
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[Any]:
        asked.append((host, port))
        return [ADDRESS]

    Egress(False, resolve=resolve, wire=Wire()).get_json(url)
    assert asked == [("login.example", port)]


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), ValueError("what")])
def test_a_name_that_cannot_be_resolved_is_a_problem_of_the_provider(error: Exception) -> None:
    def resolve(_host: str, _port: int) -> Any:
        raise error

    wire = Wire()
    assert "cannot be resolved" in refused(Egress(False, resolve=resolve, wire=wire), wire)
    assert "no address" in refused(Egress(False, resolve=lambda _host, _port: [], wire=wire), wire)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/keys",
        "file:///etc/passwd",
        "data:application/json,{}",
        "ftp://login.example/keys",
        "gopher://login.example/keys",
        "unix:///run/docker.sock",
        "https://user:secret@login.example/keys",
        "https:///keys",
        "https://",
        "//login.example/keys",
        "keys",
        "",
        "https://login.example:99999/",
        "https://[::1/",
        "https://lo\0gin.example/",
    ],
)
def test_an_url_that_is_not_https_with_a_host_is_refused(url: str) -> None:
    wire = Wire()
    refused(egress(wire), wire, url)


@pytest.mark.parametrize("port", [1, 443, 65535])
def test_an_url_may_name_a_port(port: int) -> None:
    wire = Wire()
    egress(wire).get_json(f"https://login.example:{port}/keys")
    assert (wire.sent[0].url.port or 443) == port


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    wire = Wire()
    refused(egress(wire), wire, f"https://login.example:{port}/keys")


# exceptions that the operator makes


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "ws"])
def test_a_provider_on_this_machine_speaks_http_and_nothing_else(scheme: str) -> None:
    wire = Wire()
    refused(egress(wire, "127.0.0.1", allow_loopback=True), wire, f"{scheme}://127.0.0.1:9400/keys")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_provider_on_this_machine_may_be_asked_without_tls(address: str, scheme: str) -> None:
    wire = Wire()
    assert egress(wire, address, allow_loopback=True).get_json(f"{scheme}://localhost:9400/keys").members
    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    "address", [a for a in NO_PROVIDER if not a.startswith("127.") and a not in ("::1", "::ffff:127.0.0.1")]
)
def test_a_provider_on_this_machine_opens_no_other_address(address: str) -> None:
    for url in (URL, "http://localhost/keys"):
        wire = Wire()
        refused(egress(wire, address, allow_loopback=True), wire, url)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
)
def test_the_issuers_own_name_may_be_private_and_no_other(address: str) -> None:
    wire = Wire()
    assert egress(wire, address, private_host="login.example").get_json(URL).members
    wire = Wire()
    refused(egress(wire, address, private_host="login.example"), wire, "https://other.example/keys")
    refused(egress(wire, address, private_host="login.example"), wire, "http://login.example/keys")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "240.0.0.1",
        "224.0.0.1",
        "fec0::1",
        "64:ff9b::127.0.0.1",
        "2002:a9fe:a9fe::1",
    ],
)
def test_the_issuers_own_name_is_never_on_loopback_or_link_local(address: str) -> None:
    wire = Wire()
    refused(egress(wire, address, private_host="login.example"), wire)


def test_the_way_out_fits_the_issuer() -> None:
    here = Egress.for_issuer("http://127.0.0.1:9400")
    assert (here.transport._allow_loopback, here.transport._private_host) == (True, "127.0.0.1")
    there = Egress.for_issuer("https://login.example/realms/staff")
    assert (there.transport._allow_loopback, there.transport._private_host) == (False, "login.example")


# answers


@pytest.mark.parametrize("status", [201, 204, 300, 301, 302, 303, 307, 308, 400, 401, 404, 429, 500, 503])
def test_no_redirect_is_followed_and_only_200_is_an_answer(status: int) -> None:
    headers = {"location": "http://169.254.169.254/latest/meta-data/"}
    wire = Wire(lambda: httpx2.Response(status, headers=headers, json={"a": 1}))
    with pytest.raises(ProviderError, match=f"answered {status}"):
        egress(wire).get_json(URL)
    assert len(wire.sent) == 1


def test_an_answer_without_end_is_left_at_the_cap() -> None:
    stream = Stream(iter(lambda: b" " * 65536, b""))
    with pytest.raises(ProviderError, match=f"more than {LARGEST_ANSWER} bytes"):
        egress(Wire(lambda: httpx2.Response(200, stream=stream))).get_json(URL)
    assert stream.taken == LARGEST_ANSWER // 65536 + 1
    assert stream.closed


def test_an_answer_of_exactly_the_cap_is_read() -> None:
    body = b'{"a": 1}'.ljust(LARGEST_ANSWER)
    assert egress(Wire(lambda: httpx2.Response(200, content=body))).get_json(URL).members == {"a": 1}


def test_an_answer_that_drips_is_left_after_ten_seconds() -> None:
    """Each byte resets the timeout for reading; the whole answer has a deadline of its own."""
    clock = iter(range(10_000))
    stream = Stream(iter(lambda: b" ", b""))
    way_out = egress(Wire(lambda: httpx2.Response(200, stream=stream)), clock=lambda: float(next(clock)))
    with pytest.raises(ProviderError, match="took longer than 10 s"):
        way_out.get_json(URL)
    assert stream.taken == LONGEST_ANSWER + 1
    assert stream.closed


def test_the_ten_seconds_begin_with_the_request_and_not_with_the_headers() -> None:
    times = iter([0.0, LONGEST_ANSWER + 1])
    wire = Wire(lambda: httpx2.Response(200, stream=Stream(iter([b"{}"]))))
    with pytest.raises(ProviderError, match="took longer"):
        egress(wire, clock=lambda: next(times)).get_json(URL)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate", "gzip, identity"])
def test_a_compressed_answer_was_not_asked_for(encoding: str) -> None:
    bomb = Stream(iter([gzip.compress(b" " * (1 << 24))]))
    wire = Wire(lambda: httpx2.Response(200, headers={"content-encoding": encoding}, stream=bomb))
    with pytest.raises(ProviderError, match="compressed"):
        egress(wire).get_json(URL)
    assert wire.sent[0].headers["accept-encoding"] == "identity"
    assert (bomb.taken, bomb.closed) == (0, True)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"<!doctype html>", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b'{"a": 1, "a": 2}', "a member twice"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e999}', "beyond all bounds"),
        (b'{"a": 123456789012345678901}', "has an integer beyond"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}", "nested deeper"),
        (b'{"a": ' + b"[" * 500_000, "nested deeper"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_answer_that_is_no_plain_json_object_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(ProviderError, match=complaint):
        egress(Wire(lambda: httpx2.Response(200, content=body))).get_json(URL)


@pytest.mark.parametrize(
    "error",
    [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.RemoteProtocolError(""), httpx2.ReadError("")],
)
def test_a_wire_that_breaks_is_a_problem_of_the_provider_with_a_reason(error: httpx2.HTTPError) -> None:
    def break_off() -> httpx2.Response:
        raise error

    with pytest.raises(ProviderError) as refusal:
        egress(Wire(break_off)).get_json(URL)
    assert str(refusal.value).partition(": ")[2] in ("refused", "slow", "RemoteProtocolError", "ReadError")


def test_a_bearer_token_is_sent_when_one_is_given_and_no_cookie_ever() -> None:
    wire = Wire(lambda: httpx2.Response(200, json={"a": 1}, headers={"set-cookie": "a=b"}))
    way_out = egress(wire)
    way_out.get(URL, auth=Bearer("secret"))
    way_out.get_json(URL)
    assert wire.sent[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in wire.sent[1].headers


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ("", None),
        ("public", None),
        ("max-age=60", 60),
        ('max-age="60"', 60),
        ("Public, Max-Age=60", 60),
        ("s-maxage=60", None),
        ("no-store", 0),
        ("NO-CACHE, max-age=60", 0),
        ("max-age=-60", None),
        ("max-age=", None),
    ],
)
def test_cache_control_says_how_long_an_answer_may_be_kept(header: str, age: int | None) -> None:
    wire = Wire(lambda: httpx2.Response(200, json={"a": 1}, headers={"cache-control": header}))
    assert egress(wire).get_json(URL).max_age == age


def test_headers_that_drip_are_left_after_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte resets the timeout of the socket; over a real one, because that is where the waiting happens."""
    monkeypatch.setattr("gateway.identity.http.LONGEST_ANSWER", 0.3)
    gone = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not gone.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,), daemon=True)
        server.start()
        with pytest.raises(ProviderError, match="took longer than 0 s"):
            Egress(allow_loopback=True).get_json(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        gone.set()
        server.join(10)
    assert not server.is_alive()
