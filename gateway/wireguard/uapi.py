"""WireGuard's configuration protocol (wireguard.com/xplatform) with our extension keys: text to values and back.

Extension keys, per peer: `replace_permits=true`, `permit=<cidr>[ <proto>[/<port>[-<port>]]]`, `lease_ms=<n>`,
`rate_rx=<bit/s>`, `rate_tx=<bit/s>`; `get=1` adds `drop_<reason>=<n>`. A client that knows none of them misses nothing.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from gateway.packet.drop import Drop
from gateway.packet.permits import Permit
from gateway.packet.prefixes import Network
from gateway.wireguard.config import Endpoint, InterfaceConfig, InterfaceStatus, PeerConfig, PeerStatus

MAX_LEASE_MS = 24 * 3600 * 1000
_ENDPOINT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%(?P<scope>[0-9]{1,9}))?\]|(?P<v4>[0-9.]+)):(?P<port>[0-9]{1,5})"
)


class UapiError(Exception):
    """A request that is refused; `errno` is what the client is told."""

    def __init__(self, text: str, number: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number


def parse_set(lines: Iterable[str]) -> InterfaceConfig:
    """Read the lines that follow `set=1`. Raises UapiError that names the key; nothing is half applied."""
    interface: dict[str, Any] = {}
    peers: list[dict[str, Any]] = []
    for key, value in _pairs(lines):
        if key == "public_key":
            peers.append({"public_key": _key(value)})
        elif peers:
            _peer_value(peers[-1], key, value)
        elif key in _INTERFACE:
            interface[key] = _read(_INTERFACE, key, value)
        else:
            raise UapiError(f"unknown interface key {key!r}")
    return InterfaceConfig(**interface, peers=tuple(PeerConfig(**_settled(peer)) for peer in peers))


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            raise UapiError(f"{line[:80]!r} is not key=value", errno.EPROTO)
        yield key, value


def _peer_value(peer: dict[str, Any], key: str, value: str) -> None:
    if key == "protocol_version":
        if value != "1":
            raise UapiError("protocol_version must be 1")
    elif key == "allowed_ip":
        _allowed_ip_value(peer, value)
    elif key == "permit":
        peer.setdefault("permits", []).append(_read(_PEER, key, value))
    elif key in _PEER:
        peer[_FIELD.get(key, key)] = _read(_PEER, key, value)
    else:
        raise UapiError(f"unknown peer key {key!r}")


def _allowed_ip_value(peer: dict[str, Any], value: str) -> None:
    """`allowed_ip=-<cidr>` takes one away (wireguard-go, Linux 6.16). What comes last holds."""
    network = _read(_PEER, "allowed_ip", value.removeprefix("-"))
    if value.startswith("-"):
        peer.get("allowed_ips", {}).pop(network, None)
        peer.setdefault("allowed_ips_removed", {})[network] = None
    else:
        peer.setdefault("allowed_ips", {})[network] = None


def _settled(values: dict[str, Any]) -> dict[str, Any]:
    """Lists and ordered sets as tuples; while reading they are none, because a tuple grows in quadratic time."""
    return {key: tuple(value) if isinstance(value, list | dict) else value for key, value in values.items()}


def _read(readers: dict[str, Callable[[str], Any]], key: str, value: str) -> Any:
    try:
        return readers[key](value)
    except ValueError as error:
        raise UapiError(f"{key}={value[:80]}: {error}") from None


def _key(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UapiError("a key must be 64 hexadecimal digits")
    return bytes.fromhex(text)


def _true(text: str) -> bool:
    if text != "true":
        raise ValueError("must be true")
    return True


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return int(text)

    return read


def _fwmark(text: str) -> int:
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    return _number(0, 2**32 - 1)(text or "0")


def parse_endpoint(text: str) -> Endpoint:
    """Read `192.0.2.1:51820` or `[2001:db8::1%2]:51820`. Raises ValueError."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError("must be address:port or [address]:port")
    address = ip_address(match["v6"] or match["v4"])
    if isinstance(address, IPv6Address):
        return str(address), int(match["port"]), 0, int(match["scope"] or 0)
    if match["v6"]:
        raise ValueError("must be an IPv6 address in brackets")
    return str(address), int(match["port"])


def show_endpoint(endpoint: Endpoint) -> str:
    """Write an endpoint as `parse_endpoint` reads it."""
    if len(endpoint) == 2:
        return f"{endpoint[0]}:{endpoint[1]}"
    return f"[{endpoint[0]}{f'%{endpoint[3]}' if endpoint[3] else ''}]:{endpoint[1]}"


def _allowed_ip(text: str) -> Network:
    return ip_network(text, strict=False)


_INTERFACE: dict[str, Callable[[str], Any]] = {
    "private_key": _key,
    "listen_port": _number(0, 65535),
    "fwmark": _fwmark,
    "replace_peers": _true,
}
_PEER: dict[str, Callable[[str], Any]] = {
    "remove": _true,
    "update_only": _true,
    "preshared_key": _key,
    "endpoint": parse_endpoint,
    "persistent_keepalive_interval": _number(0, 65535),
    "replace_allowed_ips": _true,
    "allowed_ip": _allowed_ip,
    "replace_permits": _true,
    "permit": Permit.parse,
    "lease_ms": _number(0, MAX_LEASE_MS),
    "rate_rx": _number(0, 10**12),
    "rate_tx": _number(0, 10**12),
}
_FIELD = {"persistent_keepalive_interval": "keepalive"}
_UAPI_NAME = {
    "keepalive": "persistent_keepalive_interval",
    "allowed_ips": "allowed_ip",
    "allowed_ips_removed": "allowed_ip",
    "permits": "permit",
}


def format_set(config: InterfaceConfig) -> str:
    """Write a change as the whole `set=1` request, with the empty line that ends it."""
    lines = ["set=1"]
    for name in ("private_key", "listen_port", "fwmark", "replace_peers"):
        lines += _lines(name, getattr(config, name))
    for peer in config.peers:
        for field in fields(PeerConfig):
            sign = "-" if field.name == "allowed_ips_removed" else ""
            lines += _lines(_UAPI_NAME.get(field.name, field.name), getattr(peer, field.name), sign)
    return "\n".join(lines) + "\n\n"


def _lines(key: str, value: Any, sign: str = "") -> list[str]:
    match value:
        case None | False:
            return []
        case True:
            return [f"{key}=true"]
        case bytes():
            return [f"{key}={value.hex()}"]
        case tuple() if key == "endpoint":
            return [f"{key}={show_endpoint(value)}"]
        case tuple():
            return [f"{key}={sign}{item}" for item in value]
    return [f"{key}={value}"]


def format_get(status: InterfaceStatus) -> str:
    """Write the answer to `get=1` without its `errno` line."""
    lines = [] if status.private_key is None else [f"private_key={status.private_key.hex()}"]
    lines += [f"listen_port={status.listen_port}"]
    lines += [f"fwmark={status.fwmark}"] if status.fwmark else []
    lines += _drop_lines(status.drops.items())
    for peer in status.peers:
        lines += _peer_lines(peer)
    return "".join(f"{line}\n" for line in lines)


def _peer_lines(peer: PeerStatus) -> list[str]:
    seconds, fraction = divmod(peer.last_handshake, 1)
    lines = [f"public_key={peer.public_key.hex()}", f"preshared_key={peer.preshared_key.hex()}", "protocol_version=1"]
    lines += [] if peer.endpoint is None else [f"endpoint={show_endpoint(peer.endpoint)}"]
    lines += [f"last_handshake_time_sec={int(seconds)}", f"last_handshake_time_nsec={int(fraction * 1e9)}"]
    lines += [f"tx_bytes={peer.tx_bytes}", f"rx_bytes={peer.rx_bytes}"]
    lines += [f"persistent_keepalive_interval={peer.keepalive}"]
    lines += [f"allowed_ip={network}" for network in peer.allowed_ips]
    if peer.permits is not None:
        lines += ["replace_permits=true", *(f"permit={permit}" for permit in peer.permits)]
    lines += [] if peer.lease_ms is None else [f"lease_ms={peer.lease_ms}"]
    lines += [f"{key}={rate}" for key, rate in (("rate_rx", peer.rate_rx), ("rate_tx", peer.rate_tx)) if rate]
    return lines + _drop_lines(peer.drops.items())


def _drop_lines(drops: Iterable[tuple[Drop, int]]) -> list[str]:
    return [f"drop_{drop.value}={count}" for drop, count in sorted(drops, key=lambda item: item[0].value) if count]


def parse_get(lines: Iterable[str]) -> InterfaceStatus:
    """Read the answer to `get=1`, ours or another implementation's. Raises UapiError when it is not one."""
    interface: dict[str, Any] = {"drops": {}}
    peers: list[dict[str, Any]] = []
    for key, value in _pairs(lines):
        if key == "errno":
            if value != "0":
                number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else errno.EPROTO
                raise UapiError(f"the tunnel answered errno {value[:80]}", number)
        elif key == "public_key":
            peers.append({"public_key": _key(value), "drops": {}})
        else:
            _status_value(peers[-1] if peers else interface, key, value, of_peer=bool(peers))
    return InterfaceStatus(**interface, peers=tuple(PeerStatus(**_whole(peer)) for peer in peers))


def _whole(peer: dict[str, Any]) -> dict[str, Any]:
    drops = peer.pop("drops")
    return {**_settled(peer), "drops": drops}


def _status_value(into: dict[str, Any], key: str, value: str, *, of_peer: bool) -> None:
    try:
        if key.startswith("drop_"):
            into["drops"][Drop(key.removeprefix("drop_"))] = int(value)
        elif not of_peer:
            if key in _INTERFACE and key != "replace_peers":
                into[key] = _INTERFACE[key](value)
        elif key in ("last_handshake_time_sec", "last_handshake_time_nsec"):
            seconds = int(value) * (1.0 if key.endswith("_sec") else 1e-9)
            into["last_handshake"] = into.get("last_handshake", 0.0) + seconds
        elif key in ("rx_bytes", "tx_bytes"):
            into[key] = int(value)
        elif key == "replace_permits":
            into["permits"] = []
        elif key in ("allowed_ip", "permit"):
            into.setdefault(key + "s", []).append(_PEER[key](value))
        elif key in _PEER and _PEER[key] is not _true:
            into[_FIELD.get(key, key)] = _PEER[key](value)
    except ValueError as error:
        raise UapiError(f"the tunnel answered {key}={value[:80]}: {error}") from None
