"""What the parts of an interface share: the peers, the indices that name them on the wire, and what is to be sent."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import count

from gateway.packet.drop import Drop
from gateway.packet.permits import Guard
from gateway.packet.prefixes import Network, PrefixTable
from gateway.wireguard.events import Event, Kind
from gateway.wireguard.keypair import Keypair
from gateway.wireguard.noise import HandshakeError, StaticKey, dh
from gateway.wireguard.outbox import Outbox
from gateway.wireguard.peer import Peer
from gateway.wireguard.spec import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT_JITTER, Entropy
from gateway.wireguard.timers import NEVER
from gateway.wireguard.timestamps import Timestamps
from gateway.wireguard.transforms import Transforms

MAX_EVENTS = 1024


@dataclass(frozen=True, slots=True)
class Slot:
    """Whose index it is: a handshake under way (`keypair` None) or transport keys."""

    peer: Peer
    keypair: Keypair | None


class State:
    """The shared state of one interface."""

    def __init__(self, *, unix_offset: float, entropy: Entropy, transforms: Transforms) -> None:
        self.transforms = transforms
        self.unix_offset = unix_offset
        self.entropy = entropy
        self.key: StaticKey | None = None
        self.mtu = 1420
        self.udp_offload = True
        self.peers: dict[bytes, Peer] = {}
        self.routes: PrefixTable[Peer] = PrefixTable()
        self.slots: dict[int, Slot] = {}
        self.timestamps = Timestamps()
        self.guard = Guard()
        self.outbox = Outbox()
        self.events: list[Event] = []
        self.drops: Counter[Drop] = Counter()
        self._deadlines: list[tuple[float, int, Peer]] = []
        self._order = count()

    def drop(self, reason: Drop, peer: Peer | None = None, times: int = 1) -> None:
        """Count refusals; those that a peer is to blame for count for it too."""
        if not times:
            return
        if peer is not None:
            peer.drops[reason] += times
        self.drops[reason] += times

    def note(self, kind: Kind, peer: Peer, detail: str = "") -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(Event(kind, peer.public_key, detail))

    def jitter(self) -> float:
        return int.from_bytes(self.entropy(2), "big") / 65536 * REKEY_TIMEOUT_JITTER

    # indices

    def new_index(self, slot: Slot) -> int:
        """Give `slot` a random index that no other one has."""
        while (index := int.from_bytes(self.entropy(4), "little")) in self.slots:
            pass
        self.slots[index] = slot
        return index

    def forget_keypair(self, keypair: Keypair | None) -> None:
        if keypair is not None:
            self.slots.pop(keypair.local, None)

    def forget_handshake(self, peer: Peer) -> None:
        if peer.handshake is not None:
            self.slots.pop(peer.handshake_index, None)
            peer.handshake = None

    def forget_keys(self, peer: Peer) -> None:
        """Let go of all keys of a peer. Python cannot overwrite them; nothing refers to them any more."""
        self.forget_handshake(peer)
        for keypair in peer.keypairs():
            self.forget_keypair(keypair)
        peer.previous = peer.current = peer.next = None

    # peers

    def add_peer(self, public_key: bytes) -> Peer:
        peer = Peer(public_key, self.static_static(public_key), self.guard)
        self.peers[public_key] = peer
        return peer

    def static_static(self, public_key: bytes) -> bytes | None:
        if self.key is None:
            return None
        try:
            return dh(self.key.private, public_key)
        except HandshakeError:
            return None

    def remove_peer(self, peer: Peer) -> None:
        self.forget_keys(peer)
        self.clear_routes(peer)
        peer.stop_waiting()
        peer.removed = True
        del self.peers[peer.public_key]

    def add_route(self, network: Network, peer: Peer) -> None:
        """Send `network` to `peer`; whoever had exactly this network before loses it."""
        before = self.routes.get(network)
        if before is not None:
            before.allowed_ips.pop(network, None)
        self.routes[network] = peer
        peer.allowed_ips[network] = None

    def remove_route(self, network: Network, peer: Peer) -> None:
        """Take `network` away from `peer`; what is another's stays."""
        if network in peer.allowed_ips:
            del peer.allowed_ips[network]
            del self.routes[network]

    def clear_routes(self, peer: Peer) -> None:
        for network in peer.allowed_ips:
            del self.routes[network]
        peer.allowed_ips.clear()

    # time

    def arm(self, peer: Peer) -> None:
        """Wake up for the peer's earliest deadline, if that is earlier than what is planned."""
        deadline = peer.timers.earliest()
        if deadline < peer.scheduled and not (peer.lease_over and deadline == peer.timers.lease):
            peer.scheduled = deadline
            heapq.heappush(self._deadlines, (deadline, next(self._order), peer))

    def arm_after_traffic(self, peer: Peer, *, now: float) -> None:
        """As `arm`, knowing that traffic sets no deadline nearer than a keepalive: mostly one is planned before that."""
        if peer.scheduled > now + min(KEEPALIVE_TIMEOUT, peer.keepalive or KEEPALIVE_TIMEOUT):
            self.arm(peer)

    def next_deadline(self) -> float | None:
        while self._deadlines and self._stale(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def due_peers(self, *, now: float) -> list[Peer]:
        """Take the peers whose planned moment has come; `arm` plans them anew."""
        due = []
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)
            if not self._stale(entry):
                entry[2].scheduled = NEVER
                due.append(entry[2])
        return due

    @staticmethod
    def _stale(entry: tuple[float, int, Peer]) -> bool:
        return entry[2].removed or entry[2].scheduled != entry[0]
