"""What the gateway sees of its peers for itself: where their packets come from, what their SYNs look like, whom they speak to.

Kept in memory only: a gateway that restarts knows nothing until it sees it again, and says so. Thread-safe.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from agent.wire import Fact
from gateway.packet.prefixes import Network
from gateway.packet.syn import family
from gateway.wireguard.config import InterfaceStatus

SOURCE: Final = "the tunnel"
MOST_PEERS: Final = 200_000
_EVENT = re.compile(r"event=(?P<kind>\w+) public_key=(?P<key>[0-9a-f]{64})(?P<rest>(?: \w+=\S+)*)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of one peer. Times are Unix seconds."""

    family: str | None = None
    family_at: float = 0.0
    updates_at: float | None = None


class Sightings:
    """All that was seen since the start. `update_servers` are the networks whose use is remembered."""

    def __init__(self, update_servers: Sequence[Network] = ()) -> None:
        self._servers = tuple(update_servers)
        self._known: dict[str, Sighting] = {}
        self._lock = threading.Lock()

    def note(self, line: str, *, now: datetime) -> None:
        """Take one line of the tunnel's events; what is none of ours is passed over."""
        event = _EVENT.fullmatch(line.strip())
        if event is None or event["kind"] != "syn":
            return
        told = dict(pair.split("=", 1) for pair in event["rest"].split())
        guess = family(told.get("fingerprint", ""))
        at = now.timestamp()
        with self._lock:
            known = self._known.pop(event["key"], Sighting())
            if guess is not None:
                known = replace(known, family=guess, family_at=at)
            if self._is_update_server(told.get("destination", "")):
                known = replace(known, updates_at=at)
            self._known[event["key"]] = known
            if len(self._known) > MOST_PEERS:
                del self._known[next(iter(self._known))]

    def facts(self, public_key: str | None, status: InterfaceStatus, *, now: datetime) -> dict[str, Fact]:
        """State what was seen of the peer with this key (hex). Everything is absent for a session without a tunnel."""
        at = now.timestamp()
        with self._lock:
            known = self._known.get(public_key or "", Sighting())
        address = next((peer.endpoint for peer in status.peers if peer.public_key.hex() == public_key), None)
        unseen = "nothing of it was seen in the tunnel yet"
        return {
            "seen.address": _fact(str(address[0]) if address else None, at, unseen),
            "seen.os_family": _fact(known.family, known.family_at or at, unseen),
            **self._updates(known, at),
        }

    def _updates(self, known: Sighting, at: float) -> Mapping[str, Fact]:
        reason = "it has not spoken to one yet" if self._servers else "no update servers are set"
        return {"seen.updates_at": _fact(known.updates_at, at, reason)}

    def _is_update_server(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._servers)


def _fact(value: str | float | None, at: float, reason: str) -> Fact:
    return Fact(value, SOURCE, at, None if value is not None else reason)
