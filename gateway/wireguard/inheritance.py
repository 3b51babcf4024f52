"""Keys die on fork: a child that went on with its parent's keys and counters would encrypt under the same nonces again.

The parent keeps everything. What the child copied is let go of; Python cannot overwrite it.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Secretive(Protocol):
    """Something that holds keys."""

    def forget(self) -> None:
        """Let go of everything secret, and of everybody that it was shared with."""


_holders: WeakSet[Secretive] = WeakSet()


def die_on_fork(holder: Secretive) -> None:
    """Let `holder` forget, for as long as it lives, in every child that Python forks."""
    _holders.add(holder)


def _forget() -> None:
    for holder in list(_holders):
        holder.forget()


os.register_at_fork(after_in_child=_forget)
