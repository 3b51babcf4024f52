"""The gateway's own resolver: a DNS name to its addresses and for how long they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import dns.exception
import dns.rdatatype
import dns.resolver

from gateway.access.names import SHORTEST_TTL, Found

PATIENCE_SECONDS = 3.0


class Resolver:
    """Asks the system's name servers, or those that are named, for A and AAAA records. Thread-safe."""

    def __init__(self, servers: Sequence[str] = (), port: int = 53) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration:  # a host without name servers resolves no name, and does all else
            self._resolver = dns.resolver.Resolver(configure=False)
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port

    def __call__(self, name: str) -> Found | None:
        """Give what the name has; None when no server answered. Half an answer is one: it only opens less."""
        answers = [self._ask(name, kind) for kind in (dns.rdatatype.A, dns.rdatatype.AAAA)]
        told = [answer for answer in answers if answer is not None]
        addresses = [address for answer in told for address in answer.addresses]
        if not told or (not addresses and len(told) < len(answers)):
            return None
        return Found(tuple(addresses), min(answer.ttl for answer in told))

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> Found | None:
        try:
            answer = self._resolver.resolve(
                f"{name}.", kind, raise_on_no_answer=False, lifetime=PATIENCE_SECONDS, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Found((), SHORTEST_TTL)
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rrset is None:
            return Found((), SHORTEST_TTL)
        return Found(tuple(record.address for record in answer.rrset), timedelta(seconds=answer.rrset.ttl))
