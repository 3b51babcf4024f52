"""The gateway's HTTP API, as the agent uses it. Every request is signed by the device key or shows a token that is bound to
it; every answer is read strictly."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from agent import answers, https, wire
from agent.addresses import Addresses
from agent.device_key import DeviceKey
from agent.errors import AgentError, Nonsense, Problem, Unreachable
from agent.guard import MARK
from agent.https import Connection
from agent.tokens import PATH, Tokens
from agent.tpm import Tpm

LARGEST_ANSWER = 1 << 20
"""Bytes. A verdict with every finding and resource has some tens of KiB."""
ANSWER_WITHIN = 15.0
"""Seconds for a whole answer: one that comes byte by byte must not keep the agent from its other work."""
BROKEN: Final = (OSError, http.client.HTTPException, ValueError)
"""What a connection that does not work raises; the last of a header that is none."""
TRIES = 3
"""Of one request: the first may lack the gateway's nonce, the second an access token that is still good."""
NONCE_NEEDED = "dpop-nonce"
AGAIN = (NONCE_NEEDED, "token-", "grant-")
"""How the codes of refusals begin after which another try makes sense."""
SILENCE = 95.0
"""Seconds without a line on the event stream, three times what the gateway sends at least, before it counts as dead."""


class Gateway:
    """One gateway. Raises Unreachable, Nonsense or Problem; use from one thread, `events` from another."""

    def __init__(self, url: str, key: DeviceKey, authority: Path | None, *, addresses: Addresses | None = None) -> None:
        """`authority` pins the certificate's issuer; None trusts what the machine trusts. `addresses` remembers."""
        self.url = origin(url)
        self._key = key
        trust = _trust(authority)
        find = (addresses or Addresses(None)).find
        self._client = Connection(self.url, trust, mark=MARK, find=find)
        self._streams = Connection(self.url, trust, mark=MARK, find=find)
        self._tokens = Tokens(self.url, key)
        self._asking = threading.Lock()
        self.wanted: answers.Attestation | None = None

    def begin_enrolment(self, name: str, redirect_uri: str, resource: str | None = None) -> tuple[str, str]:
        """Begin to enrol, or to log in again, for a resource that asks for more. Gives the enrolment's id and the URL for the browser."""
        asked = {} if resource is None else {"resource": resource}
        claims = {**_description(name), "redirect_uri": redirect_uri, **asked}
        answer = self._post("/v1/enrolments", wire.TYP_ENROLMENT, claims)
        login_url = answers.text(answer, "login_url")
        if not login_url.startswith(f"{self.url}/login/"):
            raise Nonsense("the gateway sent a login address that is not its own; check SALLYPORT_PUBLIC_URL there")
        return _name(answer, "enrolment"), login_url

    def begin_device_grant(self, name: str, resource: str | None = None) -> tuple[str, str, str, int]:
        """Begin a login on another machine (RFC 8628). Gives the enrolment's id, the address, the code, the interval."""
        asked = {} if resource is None else {"resource": resource}
        claims = {**_description(name), "device_code": True, **asked}
        answer = self._post("/v1/enrolments", wire.TYP_ENROLMENT, claims)
        address, code, interval = (
            answers.text(answer, "verification_uri"),
            answers.text(answer, "user_code"),
            answer.get("interval"),
        )
        if address != f"{self.url}/device" or type(interval) is not int or not 0 < interval <= 60:
            raise Nonsense("the gateway sent a login address that is not its own; check SALLYPORT_PUBLIC_URL there")
        return _name(answer, "enrolment"), address, code, interval

    def poll_device_grant(self, enrolment: str) -> str:
        """Ask whether somebody has let this machine in. Gives the user; raises Problem while nobody has."""
        answer = self._post(f"/v1/enrolments/{enrolment}/confirm", wire.TYP_CONFIRM, {"device_code": True})
        return answers.text(answer, "user")

    def confirm_enrolment(self, enrolment: str, code: str) -> str:
        """Finish with the code that the login gave. Gives the user."""
        answer = self._post(f"/v1/enrolments/{enrolment}/confirm", wire.TYP_CONFIRM, {"code": code})
        return answers.text(answer, "user")

    def redeem(self, name: str, enrolment_key: str) -> str:
        """Enrol an unattended machine with a key that is good once. Gives the name that it goes by."""
        claims = {**_description(name), "enrolment_key": enrolment_key}
        return answers.text(self._post("/v1/enrolments/redeem", wire.TYP_REDEMPTION, claims), "user")

    def begin_session(self, nonce: str) -> tuple[answers.Verdict, str]:
        """Open a session, presenting the nonce of the last answer. Gives the verdict before any report, and the next one."""
        answer = self._post("/v1/sessions", wire.TYP_SESSION, {"nonce": nonce})
        _name(answer, "session")
        self.wanted = answers.attestation(answer.get("attest"))
        return answers.verdict(answer), answers.text(answer, "nonce")

    def prove(self, tpm: Tpm) -> None:
        """Prove the machine's TPM to the gateway. Raises AgentError too."""
        certificate, key = tpm.identity()
        asked = {"certificate": b64encode(certificate).decode(), "key": b64encode(key).decode()}
        answer = self._ask("POST", "/v1/attestation", asked)
        secret = tpm.activate(answers.data(answer, "credential"), answers.data(answer, "encrypted_seed"))
        self._ask("POST", "/v1/attestation/activation", {"secret": b64encode(secret).decode()})

    def report(self, report: wire.PostureReport) -> tuple[answers.Verdict, str]:
        """Send a report. Gives the verdict and the nonce for the next one."""
        answer = self._post(f"/v1/sessions/{report.session}/reports", wire.TYP_REPORT, report.to_json())
        return answers.verdict(answer), answers.text(answer, "nonce")

    def credential(self, session: str, public_key: str) -> wire.TunnelConfig:
        """Get the tunnel for a fresh WireGuard key (base64)."""
        path = f"/v1/sessions/{session}/credential"
        return answers.tunnel(self._ask("POST", path, {"public_key": public_key}).get("tunnel"))

    def log_out(self) -> str:
        """End this device's logins and its session. Gives the address of the provider's own logout."""
        return answers.text(self._post("/v1/logout", wire.TYP_LOGOUT, {}), "location")

    def leave(self, session: str) -> None:
        """End the session."""
        self._ask("DELETE", f"/v1/sessions/{session}")

    def events(self, session: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Follow a session: (event, data) pairs, until the gateway or the network ends the stream."""
        path = f"/v1/sessions/{session}/events"
        try:
            for headers, last in self._proofs("GET", path):
                with self._streams.ask("GET", path, headers=headers, within=SILENCE) as answer:
                    if answer.status != 200:
                        self._learn(answer.headers, _problem(answer.status, _capped(answer)), last=last)
                        continue
                    yield from _events(_lines(self._pieces(answer)))
                    return
        except BROKEN as error:
            raise Unreachable(f"{self.url}: {str(error) or type(error).__name__}") from None

    def _pieces(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        while piece := answer.read1(https.PIECE):
            self._streams.extend(SILENCE)
            yield piece

    def strayed(self) -> bool:
        """After a change of the network: let go of connections that lead nowhere. Says whether there was one."""
        return any([self._client.strayed(), self._streams.strayed()])

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._streams.closed

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._streams.close()

    def _post(self, path: str, typ: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        body = self._key.sign(typ, claims, now=time.time())
        headers = {"content-type": wire.JOSE}
        return self._answer("POST", path, headers=headers, body=body.encode())

    def _ask(self, method: str, path: str, members: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make a request with the access token, with members as JSON."""
        body = b"" if members is None else json.dumps(members).encode()
        for headers, last in self._proofs(method, path):
            try:
                return self._answer(method, path, headers={**headers, "content-type": "application/json"}, body=body)
            except Problem as problem:
                self._learn({}, problem, last=last)
        raise AssertionError("the last refusal is raised")

    def _proofs(self, method: str, path: str) -> Iterator[tuple[dict[str, str], bool]]:
        """The headers of each try, and whether it is the last. A refusal teaches: a nonce, or that the token is over."""
        for left in reversed(range(TRIES)):
            with self._asking:
                if not self._tokens.fresh:
                    self._renew()
                headers = self._tokens.headers(method, path)
            yield headers, left == 0

    def _renew(self) -> None:
        """Get tokens. A refresh token that is over, or was used by an answer that was lost, gives way to the device key."""
        for left in reversed(range(TRIES)):
            form = urlencode(self._tokens.grant()).encode()
            headers = {**self._tokens.proof("POST", PATH), "content-type": "application/x-www-form-urlencoded"}
            try:
                return self._tokens.take(self._answer("POST", PATH, headers=headers, body=form))
            except Problem as problem:
                if not left or not problem.code.startswith(AGAIN):
                    raise
        return None

    def _learn(self, headers: Mapping[str, str] | HTTPMessage, problem: AgentError, *, last: bool) -> None:
        """Learn from a refusal, or raise it when there is nothing to learn or no try left."""
        self._tokens.remember(headers)
        if last or not isinstance(problem, Problem) or not problem.code.startswith(AGAIN):
            raise problem
        if problem.code != NONCE_NEEDED:
            self._tokens.forget()

    def _answer(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> dict[str, Any]:
        try:
            with self._client.ask(method, path, headers=headers, body=body, within=ANSWER_WITHIN) as answer:
                content, status = _capped(answer), answer.status
        except TimeoutError:
            raise Unreachable(f"{self.url}: the answer takes longer than {ANSWER_WITHIN:.0f} s") from None
        except BROKEN as error:
            raise Unreachable(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from None
        self._tokens.remember(answer.headers)
        if status >= 300:
            raise _problem(status, content)
        return _json(content) if content else {}


def _description(name: str) -> dict[str, str]:
    return {"name": name, "platform": "linux", "agent_version": wire.AGENT_VERSION}


def origin(url: str) -> str:
    """The gateway's address as everything else compares it. Raises AgentError."""
    try:
        parts = urlsplit(url)
        own = parts.hostname and parts.port != 0 and parts.path in ("", "/") and "@" not in parts.netloc
    except ValueError:
        own = False
    if not own or parts.scheme not in ("https", "http") or parts.query or parts.fragment or not url.isprintable():
        raise AgentError(f"{url!r} is no gateway address: it must be like https://gateway.example.com")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise AgentError(f"{url!r} must be https, except on a loopback address")
    return url.rstrip("/")


def _trust(authority: Path | None) -> ssl.SSLContext:
    try:
        return https.trusting(str(authority) if authority else None)
    except (OSError, ssl.SSLError) as error:
        raise AgentError(f"{authority} holds no certificate that can be read ({error})") from None


def _capped(answer: http.client.HTTPResponse) -> bytes:
    """The whole body. One that is compressed all the same is no JSON: nothing here unpacks it."""
    body = bytearray()
    while piece := answer.read(https.PIECE):
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise Nonsense(f"the gateway's answer is larger than {LARGEST_ANSWER} bytes")
    if answer.length:
        raise Unreachable("the gateway's answer was cut off")
    return bytes(body)


def _json(body: bytes | str) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise Nonsense("what answers is not a Sallyport gateway: it sent no JSON object")
    return members


def _problem(status: int, body: bytes) -> AgentError:
    try:
        members = _json(body)
        return Problem(status, answers.text(members, "code"), answers.text(members, "detail"), members)
    except Nonsense:
        return Unreachable(f"the gateway answered with status {status} and no reason")


def _name(answer: Mapping[str, Any], member: str) -> str:
    """An identifier that becomes part of a path: letters, digits, - and _ only."""
    name = answers.text(answer, member)
    if not 0 < len(name) <= 64 or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise Nonsense(f"the gateway sent no proper {member}")
    return name


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """The lines of a stream without their ends. Raises Nonsense for one that has none."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
        if len(rest) > LARGEST_ANSWER:
            raise Nonsense("the gateway sent an event that has no end")


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events (HTML standard, section 9.2.6), as far as this gateway uses them."""
    name, data = "", ""
    for line in lines:
        if len(data) + len(line) > LARGEST_ANSWER:
            raise Nonsense("the gateway sent an event that has no end")
        field, _, value = line.partition(":")
        if not line and data:
            yield name, _json(data)
        if not line:
            name, data = "", ""
        elif field == "event":
            name = value.strip()
        elif field == "data":
            data += value
