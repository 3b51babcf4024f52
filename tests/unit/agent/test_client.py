"""A gateway that does what no gateway should: the agent ends every such conversation with one error that it knows."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import http.server
import ipaddress
import json
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import client, wire
from agent.client import Gateway, origin
from agent.device_key import DeviceKey
from agent.errors import AgentError, Nonsense, Problem, Unreachable
from tests.unit.agent.conftest import Server

Request = http.server.BaseHTTPRequestHandler
VERDICT: dict[str, Any] = {
    "session": "abc",
    "tier": "full",
    "findings": [],
    "resources": [],
    "sequence": 0,
    "lease_ms": 60000,
    "heartbeat_ms": 20000,
    "policy_version": "1",
    "nonce": "n1",
}


def says(request: Request, body: bytes, *, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def says_json(request: Request, members: Any, *, status: int = 200) -> None:
    says(request, json.dumps(members).encode(), status=status)


@pytest.fixture
def gateway(server: Server, device_key: DeviceKey) -> Iterator[Gateway]:
    made = Gateway(server.url, device_key, None)
    yield made
    made.close()


def test_a_session_begins_with_a_signed_request(server: Server, gateway: Gateway, device_key: DeviceKey) -> None:
    server.answer = lambda request: says_json(request, VERDICT, status=201)
    verdict, nonce = gateway.begin_session("n0")
    assert (verdict.session, nonce) == ("abc", "n1")
    method, path, headers, body = server.asked[0]
    assert (method, path, headers["content-type"]) == ("POST", "/v1/sessions", wire.JOSE)
    header = jwt.get_unverified_header(body.decode())
    assert (header["typ"], header["kid"]) == (wire.TYP_SESSION, device_key.id)
    assert unverified(body.decode())["nonce"] == "n0"


def unverified(token: str) -> dict[str, Any]:
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


TOKENS = {"access_token": "at", "token_type": "DPoP", "expires_in": 300, "refresh_token": "rt"}


def with_tokens(answer: Any) -> Any:
    """A gateway that gives tokens to whoever asks, and answers everything else like this."""
    return lambda request: says_json(request, TOKENS) if request.path == "/v1/token" else answer(request)


def test_leaving_shows_a_token_and_proves_who_leaves_what(server: Server, gateway: Gateway) -> None:
    server.answer = with_tokens(lambda request: says(request, b"", status=204))
    gateway.leave("abc")
    method, path, headers, _ = server.asked[-1]
    assert (method, path, headers["authorization"]) == ("DELETE", "/v1/sessions/abc", "DPoP at")
    claims = unverified(headers["dpop"])
    assert (claims["htm"], claims["htu"]) == ("DELETE", f"{server.url}/v1/sessions/abc")
    assert claims["ath"] == urlsafe_b64encode(hashlib.sha256(b"at").digest()).rstrip(b"=").decode()


def test_a_token_is_used_until_it_is_refused_and_then_renewed(server: Server, gateway: Gateway) -> None:
    """Each refusal teaches: the first that a nonce is needed, the second that the access token is over."""
    lessons = [
        ({"code": "dpop-nonce", "detail": "x"}, {"dpop_nonce": "n7"}),
        ({"code": "token-time", "detail": "x"}, {}),
    ]

    def answer(request: Request) -> None:
        if request.path == "/v1/token":
            says_json(request, TOKENS)
        elif lessons:
            problem, headers = lessons.pop(0)
            says(request, json.dumps(problem).encode(), status=401, **headers)
        else:
            says(request, b"", status=204)

    server.answer = answer
    gateway.leave("abc")
    gateway.leave("abc")
    assert [path for _, path, _, _ in server.asked].count("/v1/token") == 2
    forms = [body.decode() for _, path, _, body in server.asked if path == "/v1/token"]
    assert forms[0].startswith("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
    assert forms[1] == "grant_type=refresh_token&refresh_token=rt"
    assert unverified(server.asked[2][2]["dpop"])["nonce"] == "n7"


def test_a_refresh_token_is_never_sent_twice(server: Server, gateway: Gateway) -> None:
    """Its answer may have been lost: sent again, it would look stolen. The device key asks for a new family instead."""
    server.answer = with_tokens(lambda request: says(request, b"", status=204))
    gateway.leave("abc")
    gateway._tokens.forget()
    server.answer = hang_up
    with pytest.raises(Unreachable):
        gateway.leave("abc")
    server.answer = with_tokens(lambda request: says(request, b"", status=204))
    gateway.leave("abc")
    forms = [body.decode() for _, path, _, body in server.asked if path == "/v1/token"]
    assert ["refresh_token=rt" in form for form in forms] == [False, True, False]


def test_a_gateway_that_never_takes_a_token_is_asked_a_bounded_number_of_times(
    server: Server, gateway: Gateway
) -> None:
    server.answer = with_tokens(lambda request: says_json(request, {"code": "token-time", "detail": "x"}, status=401))
    with pytest.raises(Problem, match="x"):
        gateway.leave("abc")
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "changes",
    [{"access_token": None}, {"refresh_token": 7}, {"access_token": "é"}, {"expires_in": 0}, {"expires_in": "300"}],
    ids=str,
)
def test_tokens_that_are_none_are_refused(server: Server, gateway: Gateway, changes: dict[str, Any]) -> None:
    server.answer = lambda request: says_json(request, {**TOKENS, **changes})
    with pytest.raises(Nonsense):
        gateway.leave("abc")


def test_no_proxy_and_no_secret_of_the_environment_is_used(
    server: Server, device_key: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answer = lambda request: says_json(request, VERDICT)
    gateway = Gateway(server.url, device_key, None)
    gateway.begin_session("n0")
    gateway.close()
    assert len(server.asked) == 1


def too_large(request: Request) -> None:
    says(request, b"[" + b"1," * client.LARGEST_ANSWER + b"1]")


def bomb(request: Request) -> None:
    says(request, gzip.compress(b'{"session": "' + b"a" * (64 << 20) + b'"}'), content_encoding="gzip")


def cut(request: Request) -> None:
    says(request, b'{"session"', content_length="5000")
    request.close_connection = True


def hang_up(request: Request) -> None:
    request.close_connection = True


def no_http(request: Request) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    request.close_connection = True


def redirect(request: Request) -> None:
    says(request, b"", status=307, location="/elsewhere")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (too_large, Nonsense),
        (bomb, Nonsense),
        (cut, Unreachable),
        (hang_up, Unreachable),
        (no_http, Unreachable),
        (redirect, Unreachable),
        (lambda request: says(request, b""), Nonsense),
        (lambda request: says(request, b"<html>a captive portal</html>"), Nonsense),
        (lambda request: says(request, b"[]"), Nonsense),
        (lambda request: says(request, b"[" * 100_000), Nonsense),
        (lambda request: says(request, b"\xff\xfe\0"), Nonsense),
        (lambda request: says(request, b"9" * 10_000), Nonsense),
        (lambda request: says_json(request, VERDICT | {"session": "../admin"}), Nonsense),
        (lambda request: says_json(request, VERDICT | {"session": ""}), Nonsense),
        (lambda request: says_json(request, VERDICT | {"session": "é"}), Nonsense),
        (lambda request: says_json(request, VERDICT | {"nonce": None}), Nonsense),
        (lambda request: says(request, b"bad gateway", status=502), Unreachable),
        (lambda request: says_json(request, {"detail": "no code"}, status=400), Unreachable),
        (lambda request: says_json(request, {"code": 5, "detail": []}, status=400), Unreachable),
        (lambda request: says(request, b"x" * (2 << 20), status=500), Nonsense),
    ],
)
def test_an_answer_that_is_none_is_one_error_that_the_agent_knows(
    server: Server, gateway: Gateway, answer: Any, error: type[AgentError]
) -> None:
    server.answer = answer
    with pytest.raises(AgentError) as caught:
        gateway.begin_session("n0")
    assert type(caught.value) is error
    assert str(caught.value)
    assert len(server.asked) == 1, "nothing is tried twice, and no redirect is followed"


def test_a_refusal_carries_its_code_and_what_helps_to_go_on(server: Server, gateway: Gateway) -> None:
    members = {"code": "report-out-of-order", "detail": "expected 7\x1b[31m", "sequence": 6, "nonce": "n6"}
    server.answer = lambda request: says_json(request, members, status=409)
    with pytest.raises(Problem) as caught:
        gateway.begin_session("n0")
    assert (caught.value.status, caught.value.code, caught.value.members["nonce"]) == (409, "report-out-of-order", "n6")
    assert str(caught.value) == "expected 7 [31m"


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for_without_end(
    server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_WITHIN", 0.5)

    def drip(request: Request) -> None:
        request.send_response(200)
        request.send_header("content-length", "100000")
        request.end_headers()
        while not server.released.wait(0.05):
            request.wfile.write(b" ")
            request.wfile.flush()

    server.answer = drip
    with pytest.raises(Unreachable, match="takes longer"):
        gateway.begin_session("n0")


def test_a_gateway_that_never_answers_is_unreachable(
    server: Server, device_key: DeviceKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_WITHIN", 0.3)
    server.answer = lambda request: server.released.wait(20) and None
    gateway = Gateway(server.url, device_key, None)
    with pytest.raises(Unreachable):
        gateway.begin_session("n0")
    gateway.close()


def test_nobody_at_the_address_is_unreachable(device_key: DeviceKey) -> None:
    gateway = Gateway("http://127.0.0.1:1", device_key, None)
    with pytest.raises(Unreachable, match="cannot be reached"):
        gateway.begin_session("n0")
    gateway.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/login/abc",
        "javascript:alert(1)",
        "/login/abc",
        "{}.evil.example/login/x",
        "{}@evil/login/x",
    ],
)
def test_the_browser_is_sent_to_the_gateways_own_login_only(server: Server, gateway: Gateway, url: str) -> None:
    server.answer = lambda request: says_json(request, {"enrolment": "abc", "login_url": url.format(server.url)})
    with pytest.raises(Nonsense, match="login address"):
        gateway.begin_enrolment("laptop", "http://127.0.0.1:1/")


def test_the_gateways_own_login_is_given(server: Server, gateway: Gateway) -> None:
    server.answer = lambda request: says_json(request, {"enrolment": "abc", "login_url": f"{server.url}/login/x"})
    assert gateway.begin_enrolment("laptop", "http://127.0.0.1:1/") == ("abc", f"{server.url}/login/x")


@pytest.mark.parametrize("name", ["../admin", "a/b", "", "a" * 65, None, "a?b", "a\r\nhost: x"])
def test_no_name_of_an_enrolment_leads_to_another_path(server: Server, gateway: Gateway, name: Any) -> None:
    server.answer = lambda request: says_json(request, {"enrolment": name, "login_url": f"{server.url}/login/x"})
    with pytest.raises(Nonsense, match="enrolment"):
        gateway.begin_enrolment("laptop", "http://127.0.0.1:1/")


# events


def streams(server: Server, *pieces: bytes, wait: bool = False) -> None:
    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("content-type", "text/event-stream")
        request.send_header("connection", "close")
        request.end_headers()
        for piece in pieces:
            request.wfile.write(piece)
            request.wfile.flush()
        if wait:
            server.released.wait(20)
        request.close_connection = True

    server.answer = with_tokens(answer)


def test_events_are_told_whatever_way_the_bytes_are_cut(server: Server, gateway: Gateway) -> None:
    text = b': hello\n\nevent: verdict\ndata: {"a": 1}\n\nevent: x\n\n\ndata: {"b":\r\ndata:  2}\r\n\r\nevent: ended\ndata: {}\n\n'
    expected = [("verdict", {"a": 1}), ("", {"b": 2}), ("ended", {})]
    for size in (1, 7, 1000):
        streams(server, *(text[at : at + size] for at in range(0, len(text), size)))
        assert list(gateway.events("abc")) == expected
    assert server.asked[1][2]["authorization"] == "DPoP at"


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((b"data: " + b"x" * (3 << 20),), Nonsense),
        ((b"data: xxxxxxxx\n" * 150_000,), Nonsense),
        ((b"data: no JSON\n\n",), Nonsense),
        ((b"data: []\n\n",), Nonsense),
        ((b"data: " + b"[" * 100_000 + b"\n\n",), Nonsense),
    ],
    ids=["no-line-end", "no-event-end", "no-json", "no-object", "deep"],
)
def test_a_stream_that_is_none_ends_in_an_error(
    server: Server, gateway: Gateway, pieces: tuple[bytes, ...], error: type[AgentError]
) -> None:
    streams(server, *pieces, wait=True)
    with pytest.raises(error):
        list(gateway.events("abc"))


def test_a_stream_that_falls_silent_is_dead(server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE", 0.3)
    streams(server, b": hello\n\n", wait=True)
    with pytest.raises(Unreachable):
        list(gateway.events("abc"))


def test_a_refused_stream_says_why_in_a_bounded_body(server: Server, gateway: Gateway) -> None:
    server.answer = with_tokens(
        lambda request: says_json(request, {"code": "session-ended", "detail": "x"}, status=409)
    )
    with pytest.raises(Problem, match="x"):
        list(gateway.events("abc"))
    server.answer = with_tokens(lambda request: says(request, b"x" * (2 << 20), status=409))
    with pytest.raises(Nonsense):
        list(gateway.events("abc"))
    server.answer = with_tokens(redirect)
    with pytest.raises(Unreachable):
        list(gateway.events("abc"))


def test_after_close_nothing_is_asked_any_more(server: Server, gateway: Gateway) -> None:
    gateway.close()
    assert gateway.closed
    with pytest.raises(Unreachable):
        list(gateway.events("abc"))
    assert server.asked == []


# certificates


def authority(folder: Path, name: str = "127.0.0.1", *, days: int = 1) -> tuple[Path, ssl.SSLContext]:
    """A certificate that signs itself, and a server side that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    shown, private = folder / "ca.crt", folder / "key.pem"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, private)
    return shown, context


def begins(tls: ssl.SSLContext, trusted: Path | None, key: DeviceKey) -> list[Any]:
    server = Server(tls)
    server.answer = lambda request: says_json(request, VERDICT)
    gateway = Gateway(server.url, key, trusted)
    try:
        gateway.begin_session("n0")
    finally:
        gateway.close()
        server.close()
    return server.asked


def test_the_pinned_authority_is_trusted(tmp_path: Path, device_key: DeviceKey) -> None:
    shown, tls = authority(tmp_path / "one")
    assert len(begins(tls, shown, device_key)) == 1


def test_every_other_certificate_is_refused_before_anything_is_said(tmp_path: Path, device_key: DeviceKey) -> None:
    _, tls = authority(tmp_path / "one")
    other, _ = authority(tmp_path / "two")
    for trusted in (other, None):
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            begins(tls, trusted, device_key)


@pytest.mark.parametrize(("name", "days"), [("192.0.2.1", 1), ("127.0.0.1", -1)], ids=["another-host", "out-of-date"])
def test_a_pinned_certificate_must_still_be_for_this_host_and_day(
    tmp_path: Path, device_key: DeviceKey, name: str, days: int
) -> None:
    shown, tls = authority(tmp_path / "one", name, days=days)
    with pytest.raises(Unreachable, match=r"(?i)certificate"):
        begins(tls, shown, device_key)


def test_the_certificate_alone_is_pinned_and_not_what_the_machine_trusts_beside_it(tmp_path: Path) -> None:
    shown, _ = authority(tmp_path / "one")
    assert len(client._trust(shown).get_ca_certs()) == 1


def test_a_file_without_a_certificate_is_one_clear_error(tmp_path: Path, device_key: DeviceKey) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    for path in (tmp_path / "ca.crt", tmp_path / "missing", tmp_path):
        with pytest.raises(AgentError, match="no certificate"):
            Gateway("https://gateway.example", device_key, path)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://gateway.example.com", "https://gateway.example.com"),
        ("https://gateway.example.com/", "https://gateway.example.com"),
        ("https://gateway.example.com:8443", "https://gateway.example.com:8443"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_address_of_a_gateway_is_taken(url: str, same: str) -> None:
    assert origin(url) == same


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway.example.com",
        "ftp://gateway.example.com",
        "http://gateway.example.com",
        "http://127.0.0.1.evil.example",
        "https://",
        "https://gateway.example.com/path",
        "https://gateway.example.com?a=b",
        "https://gateway.example.com#a",
        "https://gateway.example.com:99999",
        "https://gateway.example.com:0",
        "https://gateway.example.com:x",
        "https://[::1",
        "https://me:secret@gateway.example.com",
        "https://gateway.example.com@evil.example",
        "https://gateway\x1b[31m.example.com",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_address_of_a_gateway_is_one_clear_error(url: str) -> None:
    with pytest.raises(AgentError, match="https"):
        origin(url)
