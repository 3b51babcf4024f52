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
from typing import Any, Final

from agent.wire import Fact
from gateway.packet.prefixes import Network
from gateway.packet.syn import family
from gateway.wireguard.config import InterfaceStatus

SOURCE: Final = "the tunnel"
MOST_PEERS: Final = 200_000
LONGEST_LINE: Final = 1000
_EVENT = re.compile(r"event=(?P<kind>\w+) public_key=(?P<key>[0-9a-f]{64})(?P<rest>(?: \w+=\S+)*)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of one peer. Times are Unix seconds."""

    address: str | None = None
    address_at: float = 0.0
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
        event = _EVENT.fullmatch(line.strip()) if len(line) < LONGEST_LINE else None
        if event is None or event["kind"] not in ("syn", "endpoint"):
            return
        told = dict(pair.split("=", 1) for pair in event["rest"].split())
        if event["kind"] == "endpoint":
            self._change(event["key"], address=told.get("endpoint"), address_at=now.timestamp())
            return
        changes: dict[str, Any] = {}
        guess = family(told.get("fingerprint", ""))
        if guess is not None:
            changes = {"family": guess, "family_at": now.timestamp()}
        if self._is_update_server(told.get("destination", "")):
            changes["updates_at"] = now.timestamp()
        self._change(event["key"], **changes)

    def locate(self, status: InterfaceStatus, *, now: datetime) -> None:
        """Take where all peers are: what no event has told, because nobody was listening then."""
        for peer in status.peers:
            if peer.endpoint is not None:
                self._change(peer.public_key.hex(), address=str(peer.endpoint[0]), address_at=now.timestamp())

    def _change(self, key: str, **changes: Any) -> None:
        with self._lock:
            self._known[key] = replace(self._known.pop(key, Sighting()), **changes)
            if len(self._known) > MOST_PEERS:
                del self._known[next(iter(self._known))]

    def facts(self, public_key: str | None, *, now: datetime) -> dict[str, Fact]:
        """State what was seen of the peer with this key (hex). Everything is absent for a session without a tunnel."""
        at = now.timestamp()
        with self._lock:
            known = self._known.get(public_key or "", Sighting())
        unseen = "nothing of it was seen in the tunnel yet"
        return {
            "seen.address": _fact(known.address, known.address_at or at, unseen),
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
