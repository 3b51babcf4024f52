"""Rare events that a watcher of the tunnel sees, one line each."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """What happened to a peer."""

    HANDSHAKE = "handshake"
    ENDPOINT = "endpoint"
    LEASE_ENDED = "lease_ended"
    DENIED_FLOW = "denied_flow"
    SYN = "syn"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the peer with this public key; `detail` is a short text without line breaks."""

    kind: Kind
    public_key: bytes
    detail: str = ""

    def __str__(self) -> str:
        text = f"event={self.kind.value} public_key={self.public_key.hex()}"
        return f"{text} {self.detail}" if self.detail else text
