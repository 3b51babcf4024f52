"""Why a datagram or a packet was refused. Refusals are counted, never raised."""

from __future__ import annotations

import enum


class Drop(enum.Enum):
    """Every reason. The value is its name at the seam: `drop_<value>` in UAPI and in metrics."""

    # from the network, before anything is known about the sender
    KERNEL = "kernel"
    """By the kernel at the UDP sockets: malformed, or no room in the buffer. It does not tell them apart."""
    UNKNOWN_TYPE = "unknown_type"
    WRONG_LENGTH = "wrong_length"
    WRONG_MAC1 = "wrong_mac1"
    COOKIE_REQUIRED = "cookie_required"
    HANDSHAKE_RATE = "handshake_rate"
    UNKNOWN_INDEX = "unknown_index"
    # handshakes
    UNKNOWN_PEER = "unknown_peer"
    HANDSHAKE_FORGED = "handshake_forged"
    HANDSHAKE_REPLAYED = "handshake_replayed"
    HANDSHAKE_FLOOD = "handshake_flood"
    COOKIE_FORGED = "cookie_forged"
    # transport
    KEYPAIR_EXPIRED = "keypair_expired"
    COUNTER_REPLAYED = "counter_replayed"
    TRANSPORT_FORGED = "transport_forged"
    # inner packets
    LEASE_ENDED = "lease_ended"
    MALFORMED_PACKET = "malformed_packet"
    SOURCE_NOT_ALLOWED = "source_not_allowed"
    NOT_PERMITTED = "not_permitted"
    NO_FLOW = "no_flow"
    RATE_EXCEEDED = "rate_exceeded"
    # on the way out
    ROUTING_LOOP = "routing_loop"
    """A packet for the endpoint of the peer that it would go to: a datagram of ours that comes back."""
    NO_ROUTE = "no_route"
    NO_ENDPOINT = "no_endpoint"
    QUEUE_FULL = "queue_full"
    SEND_FAILED = "send_failed"
    TUN_REFUSED = "tun_refused"
