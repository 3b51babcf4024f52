"""Where somebody connects from: the address that the gateway sees, and the country that a map of networks gives it.

The map is a MaxMind file (GeoIP2 or GeoLite2, Country or City) and never needed: without it no country is known, except that
private, shared and local addresses belong to none. What is not known opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import maxminddb

from gateway.errors import SettingsError
from gateway.policy.model import PRIVATE


@dataclass(frozen=True, slots=True)
class Place:
    """An address and its country; None is not known."""

    address: str | None = None
    country: str | None = None


NOWHERE = Place()


class Map:
    """Tells the country of an address. Thread-safe."""

    def __init__(self, file: Path | None = None) -> None:
        self._reader: Any = None
        if file is not None:
            try:
                self._reader = maxminddb.open_database(str(file), maxminddb.MODE_MEMORY)
            except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
                raise SettingsError(f"SALLYPORT_COUNTRIES_FILE={file}: is not a MaxMind file: {error}") from None

    @property
    def configured(self) -> bool:
        return self._reader is not None

    def place(self, address: str | None) -> Place:
        """Say where an address is."""
        try:
            parsed = ip_address(address or "")
        except ValueError:
            return Place()
        mapped = getattr(parsed, "ipv4_mapped", None)
        here = mapped or parsed
        if not here.is_global:
            return Place(str(here), PRIVATE)
        return Place(str(here), self._country(str(here)))

    def _country(self, address: str) -> str | None:
        if self._reader is None:
            return None
        try:
            found = self._reader.get(address)
            code = found["country"]["iso_code"]
        except (KeyError, TypeError, ValueError, maxminddb.InvalidDatabaseError):
            return None
        return code if isinstance(code, str) and re.fullmatch(r"[A-Z]{2}", code) else None
