"""A start-up self-test: two interfaces in memory shake hands and pass a packet, with the parsers and transforms that serve.

It also brings in every module that is imported on first use, which the seccomp filter would not let be opened later.
"""

from __future__ import annotations

import os
import struct

from gateway.errors import HostError
from gateway.packet.offload import PLAIN
from gateway.wireguard.config import Endpoint
from gateway.wireguard.cookie import CookieChecker, CookieJar
from gateway.wireguard.interface import Interface
from gateway.wireguard.messages import CookieReply
from gateway.wireguard.noise import StaticKey
from gateway.wireguard.transforms import Transforms
from gateway.wireguard.uapi import UapiError, format_get, parse_endpoint, parse_set

HERE, THERE = "[fe80::1%1]:1", "192.0.2.2:2"
_SUM_OF_HEADER = 0x66CF
PACKET = struct.pack("!BBHHHBBH4B4B", 0x45, 0, 20, 0, 0, 64, 59, _SUM_OF_HEADER, 10, 0, 0, 1, 10, 0, 0, 2)
"""An IPv4 packet with nothing in it."""


def rehearse(transforms: Transforms, *, now: float) -> None:
    """Raise HostError when what is installed does not work together."""
    ours, theirs = StaticKey.of(os.urandom(32)), StaticKey.of(os.urandom(32))
    here = _end(transforms, ours, theirs, THERE, ["allowed_ip=10.0.0.2/32"], now=now)
    there = _end(
        transforms, theirs, ours, HERE, ["allowed_ip=10.0.0.1/32", "allowed_ip=fd00::/64", "permit=10.0.0.0/8"], now=now
    )
    here.send(memoryview(PLAIN + PACKET), now=now)
    arrived: list[bytes] = []
    for sender, receiver, source in ((here, there, HERE), (there, here, THERE), (here, there, HERE)):
        arrived += _carry(sender, receiver, parse_endpoint(source), now=now)
    shown = format_get(there.status(now=now))
    if (
        arrived != [PLAIN + PACKET]
        or f"public_key={ours.public.hex()}" not in shown
        or not _cookies_work(ours, now=now)
    ):
        raise HostError(f"the self-test failed: a packet did not pass through the {transforms.NAME} transforms")


def _end(
    transforms: Transforms, ours: StaticKey, theirs: StaticKey, endpoint: str, more: list[str], *, now: float
) -> Interface:
    interface = Interface(now=now, unix_time=now, entropy=os.urandom, transforms=transforms)
    lines = [f"private_key={ours.private.hex()}", f"public_key={theirs.public.hex()}", f"endpoint={endpoint}"]
    interface.configure(parse_set([*lines, *more]), now=now)
    try:
        parse_set(["private_key=none"])
    except UapiError:
        return interface
    raise HostError("the self-test failed: a key that is none was taken")


def _carry(sender: Interface, receiver: Interface, source: Endpoint, *, now: float) -> list[bytes]:
    """Take what one end sends to the other; give the frames that come out there."""
    frames = []
    for transmit in sender.transmits():
        train = b"".join(transmit.buffers)
        frames += receiver.receive(memoryview(train), transmit.segment, source, now=now)
    return [b"".join(parts) for parts in frames]


def _cookies_work(key: StaticKey, *, now: float) -> bool:
    jar, checker = CookieJar(key.public), CookieChecker(key.public, os.urandom)
    reply = checker.reply(jar.sign(bytes(8), now=now), b"source", 1, now=now)
    taken = jar.take(CookieReply.unpack(reply), now=now)
    return taken and checker.mac2_holds(jar.sign(bytes(8), now=now), b"source", now=now)
