"""Somebody with the key of a killed session: begins handshakes with it, as its tunnel would after a restart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from agent import uapi
from gateway.demo import network
from gateway.demo.stage import TUNNEL_PORT, Stage
from gateway.errors import HostError
from gateway.wireguard.messages import INITIATION, RESPONSE, SIZES

WATCHED: Final = 6.0
"""Seconds: a handshake that is not answered is begun again after 5."""
KEPT: Final = ("public_key", "endpoint", "persistent_keepalive_interval", "allowed_ip")


@dataclass(frozen=True, slots=True)
class Tried:
    """Initiations that left the laptop, and responses that came back."""

    initiations: int
    answers: int

    @property
    def ignored(self) -> bool:
        """Whether somebody knocked and nobody answered."""
        return self.initiations > 0 and self.answers == 0


class OldKey:
    """The tunnel on the laptop, whose agent cannot take it down now."""

    def __init__(self, interface: str) -> None:
        self._interface = interface

    def try_handshakes(self, stage: Stage) -> Tried:
        """Make the tunnel forget its keys but not its private key, and begin anew. The probes make it knock."""
        known = uapi.ask(self._interface, "get=1\n\n")
        lines = [f"{key}={value}" for key, value in known if key in KEPT]
        peer = next((value for key, value in known if key == "public_key"), None)
        if peer is None:
            raise HostError("the laptop's tunnel has no peer: nothing can be tried with its key")
        uapi.ask(self._interface, f"set=1\npublic_key={peer}\nremove=true\n\n")
        since = time.time()
        uapi.ask(self._interface, "\n".join(["set=1", *lines]) + "\n\n")
        time.sleep(WATCHED)
        return seen(stage, since)


def seen(stage: Stage, since: float) -> Tried:
    """Count the handshake messages between laptop and gateway, on the laptop's wire."""
    wire = [p for p in stage.laptop_witness.seen(since) if p.interface == network.INTERNET_WIRE]
    sent = [p for p in wire if p.leaving and p.destination_port == TUNNEL_PORT and _is(p.payload, INITIATION)]
    answered = [p for p in wire if not p.leaving and p.source_port == TUNNEL_PORT and _is(p.payload, RESPONSE)]
    return Tried(len(sent), len(answered))


def _is(payload: bytes, kind: int) -> bool:
    return len(payload) == SIZES[kind] and payload[0] == kind
