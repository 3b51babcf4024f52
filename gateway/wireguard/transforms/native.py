"""The native twin, written in Rust (`gateway/native`): the same functions over the extension module."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gateway.native import _transforms
from gateway.packet.checksum import Buffer
from gateway.wireguard.transforms import Opened, Sealed, reference

NAME = "native"
_sealed: Final[Callable[[tuple[Any, ...]], Sealed]] = partial(tuple.__new__, Sealed)
_opened: Final[Callable[[tuple[Any, ...]], Opened]] = partial(tuple.__new__, Opened)
"""A named tuple is its fields and nothing else: made like this it costs no call in Python."""


class Key:
    """A key for both halves: the batch transforms use the native one, a keepalive the reference."""

    __slots__ = ("batch", "plain")

    def __init__(self, secret: bytes) -> None:
        self.batch = _transforms.Key(secret)
        self.plain = reference.key(secret)


def key(secret: bytes) -> Key:
    return Key(secret)


def seal(key: Key, receiver: int, counter: int, frame: Buffer, mtu: int) -> Sealed:
    return _sealed(_transforms.seal(key.batch, receiver, counter, frame, mtu))


def seal_empty(key: Key, receiver: int, counter: int) -> Sealed:
    return reference.seal_empty(key.plain, receiver, counter)


def open_(key: Key, train: Buffer, segment: int, *, udp: bool = True) -> Opened:
    return _opened(_transforms.open_(key.batch, train, segment, udp))
