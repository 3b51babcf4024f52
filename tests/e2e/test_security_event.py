"""A security event cuts what is under way: a real gateway, agent and tunnel, a transmitter on loopback, packets on both wires."""

from __future__ import annotations

import http.server
import ssl
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from gateway.demo import stage
from gateway.demo.namespaces import Host
from gateway.demo.stage import URL, Stage, wait_for
from gateway.demo.steps import CUT_WITHIN, Play
from tests.sim import transmitter as simulated
from tests.sim.transmitter import CAEP, KEYS, STATUS, STREAM, TOKEN, VERIFY, SimulatedTransmitter

PORT = 9600
ISSUER = f"http://127.0.0.1:{PORT}/tenant"
PROVIDER = f"http://127.0.0.1:{stage.PROVIDER_PORT}"
ALICE = {"format": "iss_sub", "iss": PROVIDER, "sub": "development-alice"}
WITHIN_MS = 1000.0
"""From the accepted event to the last packet."""


class Listening:
    """The simulated transmitter as an HTTP server on the gateway's own host."""

    def __init__(self, host: Host) -> None:
        self.transmitter = SimulatedTransmitter()
        paths = {"jwks_uri": KEYS, "configuration_endpoint": STREAM, "status_endpoint": STATUS}
        paths |= {"verification_endpoint": VERIFY}
        self.transmitter.metadata = {name: f"http://127.0.0.1:{PORT}{path}" for name, path in paths.items()}
        self.transmitter.metadata["issuer"] = ISSUER
        with host.entered():
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        transmitter = self.transmitter

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                url = f"http://127.0.0.1:{PORT}{self.path}"
                asked = httpx2.Request(self.command, url, headers=dict(self.headers.items()), content=body)
                answer = transmitter.handle_request(asked)
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Play, SimulatedTransmitter]]:
    """Alice is connected, her long flow to payroll runs, and the gateway has its stream."""
    monkeypatch.setattr(simulated, "ISSUER", ISSUER)
    settings = {"SALLYPORT_SSF_ISSUER": ISSUER, "SALLYPORT_SSF_TOKEN": TOKEN}
    with stage.built(lambda _: None, settings) as built:
        listening, play = Listening(built.network.gateway), Play(built, lambda _: None)
        try:
            assert play.arrive().ok
            assert play.work().ok
            transmitter = listening.transmitter
            # the stream is looked for every 15 s; it was not there when the gateway started
            # it is asked for its verification when the gateway has written it down
            wait_for(lambda: 1.0 if transmitter.states else None, within=30.0, what="the stream of security events")
            yield built, play, transmitter
        finally:
            play.close()
            listening.close()


def test_an_accepted_event_is_followed_by_no_packet(played: tuple[Stage, Play, SimulatedTransmitter]) -> None:
    built, play, transmitter = played
    assert transmitter.stream is not None
    shown = transmitter.stream["delivery"]["authorization_header"]
    transmitter.now = simulated.START.fromtimestamp(time.time(), simulated.START.tzinfo)
    token = transmitter.event(f"{CAEP}session-revoked", ALICE).sign()
    since = play._mark()
    built.employee.freeze_agent()  # so that only the gateway can be what cuts it
    with built.network.gateway.entered():
        trust = ssl.create_default_context(cafile=str(built.authority))
        headers = {"authorization": shown, "content-type": "application/secevent+jwt"}
        answer = httpx2.post(f"{URL}/security-events", content=token, headers=headers, verify=trust, trust_env=False)
    accepted = time.time()
    assert answer.status_code == 202, answer.text
    last = play._silence(since)
    reach = built.reach()
    built.employee.thaw_agent()
    assert (last - accepted) * 1000 <= WITHIN_MS <= CUT_WITHIN
    assert all(count.blocked for count in reach.values()), reach
