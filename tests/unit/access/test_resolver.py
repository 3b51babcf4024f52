"""The gateway's resolver against a name server on loopback that answers what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from gateway.access import resolver
from gateway.access.names import SHORTEST_TTL, Found
from gateway.access.resolver import Resolver


class Server:
    """Answers from `zone`: by type a TTL and addresses, or a response code; what is not there is not answered."""

    def __init__(self) -> None:
        self.zone: dict[str, tuple[int, list[str]] | dns.rcode.Rcode] = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                raw, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            asked = dns.message.from_wire(raw)
            question = asked.question[0]
            said = self.zone.get(dns.rdatatype.to_text(question.rdtype))
            if said is None:
                continue
            answer = dns.message.make_response(asked)
            answer.flags |= dns.flags.RA
            if isinstance(said, dns.rcode.Rcode):
                answer.set_rcode(said)
            elif said[1]:
                answer.answer.append(dns.rrset.from_text(question.name, said[0], "IN", question.rdtype, *said[1]))
            self.socket.sendto(answer.to_wire(), peer)

    def ask(self) -> Found | None:
        return Resolver(["127.0.0.1"], self.port)("git.example.com")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(resolver, "PATIENCE_SECONDS", 0.5)
    made = Server()
    yield made
    made.socket.close()


def test_both_families_are_found_and_the_shorter_ttl_counts(server: Server) -> None:
    server.zone = {"A": (300, ["10.20.0.7", "10.20.0.8"]), "AAAA": (60, ["2001:db8::7"])}
    found = server.ask()
    assert found is not None
    assert (sorted(found.addresses), found.ttl) == (["10.20.0.7", "10.20.0.8", "2001:db8::7"], timedelta(seconds=60))


def test_a_name_without_addresses_and_one_that_does_not_exist_have_none(server: Server) -> None:
    server.zone = {"A": (300, []), "AAAA": (300, [])}
    assert server.ask() == Found((), SHORTEST_TTL)
    server.zone = {"A": dns.rcode.NXDOMAIN, "AAAA": dns.rcode.NXDOMAIN}
    assert server.ask() == Found((), SHORTEST_TTL)


def test_no_answer_and_a_failure_are_no_answer_and_half_of_one_opens_less(server: Server) -> None:
    assert server.ask() is None
    server.zone = {"A": dns.rcode.SERVFAIL, "AAAA": dns.rcode.SERVFAIL}
    assert server.ask() is None
    server.zone = {"A": (20, ["10.20.0.7"]), "AAAA": dns.rcode.SERVFAIL}
    assert server.ask() == Found(("10.20.0.7",), timedelta(seconds=20))
    server.zone = {"A": (20, []), "AAAA": dns.rcode.SERVFAIL}
    assert server.ask() is None


def test_a_host_without_name_servers_resolves_nothing_and_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_resolver: dns.resolver.Resolver, _file: str) -> bool:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", unreadable)
    assert Resolver()("git.example.com") is None
