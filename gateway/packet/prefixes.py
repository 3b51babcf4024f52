"""A table of IP networks: exact insertion, longest match first. Serves allowed IPs and permits.

One dictionary per prefix length: a look-up costs one step per length in use, however many networks there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

Network = IPv4Network | IPv6Network
T = TypeVar("T")


class PrefixTable(Generic[T]):
    """Networks of both families, each with one value."""

    def __init__(self) -> None:
        self._lengths: dict[int, dict[int, dict[int, T]]] = {4: {}, 16: {}}
        self._order: dict[int, list[tuple[int, dict[int, T]]]] = {4: [], 16: []}

    def __setitem__(self, network: Network, value: T) -> None:
        size = network.max_prefixlen // 8
        lengths = self._lengths[size]
        if network.prefixlen not in lengths:
            lengths[network.prefixlen] = {}
            self._sort(size)
        lengths[network.prefixlen][int(network.network_address)] = value

    def __delitem__(self, network: Network) -> None:
        size = network.max_prefixlen // 8
        values = self._lengths[size][network.prefixlen]
        del values[int(network.network_address)]
        if not values:
            del self._lengths[size][network.prefixlen]
            self._sort(size)

    def get(self, network: Network) -> T | None:
        """Give the value of exactly this network."""
        values = self._lengths[network.max_prefixlen // 8].get(network.prefixlen, {})
        return values.get(int(network.network_address))

    def matches(self, address: bytes) -> Iterator[T]:
        """Give the values of all networks that hold `address` (4 or 16 bytes), the longest prefix first."""
        number = int.from_bytes(address, "big")
        for mask, values in self._order[len(address)]:
            value = values.get(number & mask)
            if value is not None:
                yield value

    def longest(self, address: bytes) -> T | None:
        """Give the value of the longest network that holds `address`."""
        number = int.from_bytes(address, "big")
        for mask, values in self._order[len(address)]:
            value = values.get(number & mask)
            if value is not None:
                return value
        return None

    def _sort(self, size: int) -> None:
        bits = size * 8
        self._order[size] = [
            ((1 << bits) - (1 << (bits - length)), self._lengths[size][length])
            for length in sorted(self._lengths[size], reverse=True)
        ]
