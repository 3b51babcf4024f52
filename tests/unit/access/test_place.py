"""The country of an address, by a MaxMind file that is written here byte by byte."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.access.place import Map, Place
from gateway.errors import SettingsError


def value(said: Any) -> bytes:
    """Write one value of the format's data section (MaxMind DB 2.0)."""
    if isinstance(said, dict):
        return bytes([7 << 5 | len(said)]) + b"".join(value(key) + value(member) for key, member in said.items())
    if isinstance(said, list):
        return bytes([len(said), 4]) + b"".join(map(value, said))
    if isinstance(said, str):
        return bytes([2 << 5 | len(said)]) + said.encode()
    raw = said.to_bytes((said.bit_length() + 7) // 8, "big")
    return bytes([6 << 5 | len(raw)]) + raw


def mmdb(records: dict[str, Any]) -> bytes:
    """A tree of IPv4 networks with a record each, 24 bits a pointer."""
    nodes: list[list[Any]] = [[None, None]]
    data, offsets = b"", {}
    for network, record in records.items():
        offsets[network] = len(data)
        data += value(record)
        parsed = ip_network(network)
        node = 0
        for depth in range(parsed.prefixlen):
            bit = int(parsed.network_address) >> (31 - depth) & 1
            if depth == parsed.prefixlen - 1:
                nodes[node][bit] = network
            else:
                if nodes[node][bit] is None:
                    nodes.append([None, None])
                    nodes[node][bit] = len(nodes) - 1
                node = nodes[node][bit]
    count = len(nodes)

    def pointer(to: Any) -> bytes:
        number = count if to is None else to if isinstance(to, int) else count + 16 + offsets[to]
        return number.to_bytes(3, "big")

    tree = b"".join(pointer(left) + pointer(right) for left, right in nodes)
    about = {
        "node_count": count, "record_size": 24, "ip_version": 4, "database_type": "Test-Country", "languages": [],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1, "description": {},
    }  # fmt: skip
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + value(about)


@pytest.fixture
def countries(tmp_path: Path) -> Map:
    file = tmp_path / "countries.mmdb"
    records = {
        "8.8.0.0/16": {"country": {"iso_code": "US"}}, "9.9.9.0/24": {"country": {"iso_code": "AT"}},
        "7.0.0.0/8": {"country": {"iso_code": "austria"}}, "6.0.0.0/8": {"continent": {"code": "EU"}},
    }  # fmt: skip
    file.write_bytes(mmdb(records))
    return Map(file)


def test_an_address_has_the_country_of_its_network(countries: Map) -> None:
    assert countries.configured
    assert countries.place("8.8.8.8") == Place("8.8.8.8", "US")
    assert countries.place("::ffff:9.9.9.9") == Place("9.9.9.9", "AT")


@pytest.mark.parametrize("address", ["1.1.1.1", "7.7.7.7", "6.6.6.6", "2001:4860::8888"])
def test_what_the_file_does_not_tell_is_not_known(countries: Map, address: str) -> None:
    assert countries.place(address) == Place(address, None)


def test_a_private_address_is_not_looked_up(countries: Map) -> None:
    assert countries.place("10.1.2.3") == Place("10.1.2.3", "private")


def test_what_is_no_such_file_stops_the_gateway_with_the_name_of_the_setting(tmp_path: Path) -> None:
    (tmp_path / "x.mmdb").write_bytes(b"nothing of the kind")
    with pytest.raises(SettingsError, match=r"SALLYPORT_COUNTRIES_FILE=.*x\.mmdb: is not a MaxMind file"):
        Map(tmp_path / "x.mmdb")
