"""What can be configured and what can be seen: the values behind UAPI, without its text form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.packet.drop import Drop
from gateway.packet.permits import Permit
from gateway.packet.prefixes import Network

Endpoint = tuple[str, int] | tuple[str, int, int, int]
"""A socket address as Python's socket module has it: IPv4 (host, port) or IPv6 (host, port, flow, scope)."""


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A change to one peer; None and empty leave a thing as it is.

    `lease_ms` is the remaining time in milliseconds, 0 ends the lease now. Rates are in bits per second, 0 lifts them.
    A `preshared_key` of zeros means none. Allowed IPs are replaced, then removed, then added.
    """

    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: bytes | None = None
    endpoint: Endpoint | None = None
    keepalive: int | None = None
    replace_allowed_ips: bool = False
    allowed_ips_removed: tuple[Network, ...] = ()
    allowed_ips: tuple[Network, ...] = ()
    replace_permits: bool = False
    permits: tuple[Permit, ...] = ()
    lease_ms: int | None = None
    rate_rx: int | None = None
    rate_tx: int | None = None


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """A change to an interface and any number of its peers. A `private_key` of zeros takes the key away."""

    private_key: bytes | None = None
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: tuple[PeerConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer as it is now.

    `last_handshake` is Unix time in seconds, 0 for never. `permits` is None for a peer that was never given any
    (stock WireGuard), `lease_ms` None for one without a lease.
    """

    public_key: bytes
    preshared_key: bytes = bytes(32)
    endpoint: Endpoint | None = None
    last_handshake: float = 0.0
    rx_bytes: int = 0
    tx_bytes: int = 0
    keepalive: int = 0
    allowed_ips: tuple[Network, ...] = ()
    permits: tuple[Permit, ...] | None = None
    lease_ms: int | None = None
    rate_rx: int = 0
    rate_tx: int = 0
    drops: Mapping[Drop, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """The interface as it is now. `drops` are those that no peer can be blamed for, and the peers' together."""

    private_key: bytes | None = None
    listen_port: int = 0
    fwmark: int = 0
    peers: tuple[PeerStatus, ...] = ()
    drops: Mapping[Drop, int] = field(default_factory=dict)
