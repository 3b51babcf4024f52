"""Who else knows the devices: an MDM or an EDR, asked over its own API, now and then.

A connector is a `Witness`: it lists what its service knows, and nothing more. Which of our devices a record is about, how
old it may be, and what follows from it is the same for all of them (`gateway/access/testimony.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """What a service knows of one device. `facts` by their names in the catalogue, `mdm.…` or `edr.…`."""

    serial: str | None
    uuid: str | None
    seen_at: datetime
    facts: Mapping[str, Any]


class Witness(Protocol):
    """A service that knows devices."""

    @property
    def name(self) -> str:
        """What the source of its facts is called, for example `fleet`."""

    def records(self) -> Iterable[Record]:
        """Ask for all devices. Raises ProviderError when the answer is not whole: half a list is none."""
