"""The two batch transforms between a TUN's frames and trains of datagrams: what they take and give, and which to use.

`seal`: split, pad, encrypt. `open_`: decrypt, trim, merge. Both are pure. Everything that decides (replay, allowed IPs,
permits) stays outside, so that the native twin has nothing to decide either. The reference is in Python.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, NamedTuple, Protocol

from gateway.packet.checksum import Buffer
from gateway.packet.offload import Frame

NAMES: Final = ("native", "python")
"""Best first."""


class Sealed(NamedTuple):
    """A train of so many `datagrams`, all `segment` bytes long, the last at most that."""

    train: bytes
    segment: int
    datagrams: int


class Opened(NamedTuple):
    """What a train held. `authentic` has one entry per datagram; `keepalives` and `malformed` count authentic ones."""

    authentic: list[bool]
    frames: list[Frame]
    keepalives: int
    malformed: int


class Transforms(Protocol):
    """One implementation. Both give identical bytes and identical drops."""

    NAME: str

    def key(self, secret: bytes) -> Any:
        """Make one direction's transport key of 32 bytes, as the other functions take it."""

    def seal(self, key: Any, receiver: int, counter: int, frame: Buffer, mtu: int) -> Sealed:
        """Turn a frame into datagrams with the counters from `counter` on. Padding to 16 bytes does not exceed `mtu`."""

    def seal_empty(self, key: Any, receiver: int, counter: int) -> Sealed:
        """Give a keepalive: a datagram with nothing in it."""

    def open_(self, key: Any, train: Buffer, segment: int, *, udp: bool = True) -> Opened:
        """Open the datagrams of one keypair, `segment` bytes each, the last may be shorter.

        `udp` says whether the TUN takes USO frames.
        """


def choose(name: str | None = None) -> Transforms:
    """Give an implementation by name; None takes the best that is installed. Raises ImportError for one that is not."""
    for each in (name,) if name is not None else NAMES:
        try:
            return _load(each)
        except ImportError:
            if each == name or each == NAMES[-1]:
                raise
    raise AssertionError("the reference is always there")


def _load(name: str) -> Transforms:
    modules = {"native": "gateway.wireguard.transforms.native", "python": "gateway.wireguard.transforms.reference"}
    module: Any = importlib.import_module(modules[name])
    return module  # type: ignore[no-any-return]
