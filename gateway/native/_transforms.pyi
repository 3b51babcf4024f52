"""The extension module, built from `src/` by `make native` or with the wheel where cargo is installed."""

from typing import final

from gateway.packet.checksum import Buffer

@final
class Key:
    def __new__(cls, secret: bytes) -> Key: ...

def seal(key: Key, receiver: int, counter: int, frame: Buffer, mtu: int) -> tuple[bytes, int, int]: ...
def open_(
    key: Key, train: Buffer, segment: int, udp: bool
) -> tuple[list[bool], list[tuple[bytes, list[bytes]]], int, int]: ...
